"""The same quantity of one model reads the same on every page, in the report and on the terminal."""

import re
from dataclasses import replace

import pytest

from app.models import library
from engine.base import numbers
from engine.base.measurements import MeasurementKey
from engine.cli import main
from engine.demo.shipped import demo_data
from engine.reports import gather, report_html
from engine.validation.cache import dataset_digest
from engine.workspace.figures import figures_of
from engine.workspace.store import Store
from tests.results import measurement, timing, written

SCORES = {"mAP50-95": 0.71621, "mAP50": 0.91, "precision": 0.9031, "recall": 0.8777}
IMGSZ = 320


@pytest.fixture
def family(demo, workspace):
    """(dense, sparse, pruned, trained) of the demo, all measured alike; the last was registered without any number."""
    store, data = Store(workspace), demo_data(Store(workspace))
    pruned = library.prune_into(store, demo.sparse, {"prune_ratio": 0.5, "imgsz": IMGSZ})
    trained = workspace / "trained.pt"
    trained.write_bytes(demo.dense.path.read_bytes() + b"\0")
    spec = {"weights": str(demo.dense.path), "data": str(data), "epochs": 1}
    made = {"verb": "train", "spec": spec}
    trained = store.add_model(trained, "Trained again", "trained", parent_id=demo.dense.id, made=made)
    members = (demo.dense, demo.sparse, pruned, trained)
    key = MeasurementKey("", dataset_digest(data, "val"), "val", IMGSZ, 16, "cpu")
    for place, model in enumerate(members):
        metrics = {name: value - 0.01 * place for name, value in SCORES.items()}
        store.keep_measurement(replace(key, weights=model.digest), measurement(metrics=metrics, per_class={}))
    return members


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\\", "").replace("\u2060", "")


def sidebar(app) -> dict[str, str]:
    caption = next(plain(each.value) for each in app.sidebar.caption if "parameters" in each.value)
    found = re.fullmatch(r"(.*) parameters  \n(.*) GFLOPs at 640 px  \nmAP50-95 (.*)", caption)
    assert found, caption
    (help_text,) = (each.proto.help for each in app.sidebar.caption if each.value and "parameters" in each.value)
    assert "val split at" in plain(help_text), "the accuracy says what it was measured with"
    return dict(zip(("Parameters", "GFLOPs", "mAP50-95"), found.groups(), strict=True))


def on_models(app, model) -> dict[str, str]:
    table = app.dataframe[0].value.set_index("Name").loc[model.name]
    names = {"Parameters": "Parameters", "GFLOPs": numbers.GFLOPS_LABEL, "mAP50-95": "mAP50-95"}
    return {name: plain(table[column]) for name, column in names.items()}


def on_lineage(app) -> dict[str, str]:
    told = {metric.label.replace(" at 640 px", ""): plain(metric.value) for metric in app.metric}
    return {name: told[name] for name in ("Parameters", "GFLOPs", "mAP50-95")}


def on_compare(app, model) -> dict[str, str]:
    from app.comparison import tables as comparing_tables

    table = app.dataframe[0].value.set_index("Model").loc[model.name]
    return {name: comparing_tables._value(name, table[name]) for name in ("Parameters", "GFLOPs", "mAP50-95")}


@pytest.mark.parametrize("which", range(4), ids=["dense", "sparse", "pruned", "trained"])
def test_each_quantity_of_a_model_reads_the_same_on_every_page(open_page, family, workspace, which):
    model = family[which]
    told = figures_of(Store(workspace), [model])[model.id]
    expected = {
        "Parameters": numbers.count(told.params), "GFLOPs": numbers.gflops(told.gflops),
        "mAP50-95": numbers.score(told.score),
    }  # fmt: skip
    assert numbers.UNKNOWN not in expected.values(), "what the workspace can know is no dash"
    models = open_page("models", model.id)
    assert on_models(models, model) == sidebar(models) == expected
    lineage = open_page("lineage", model.id)
    assert on_lineage(lineage) == expected
    compare = open_page("compare", model.id)
    assert not compare.error and on_compare(compare, model) == expected
    prune = open_page("prune", model.id)
    tiles = {metric.label: plain(metric.proto.delta_description or metric.value) for metric in prune.metric}
    assert tiles["Parameters"] == f"of {expected['Parameters']}"
    assert tiles[numbers.GFLOPS_LABEL] == f"of {expected['GFLOPs']}"


def test_the_report_and_the_terminal_tell_the_numbers_of_the_pages(family, workspace, capsys):
    store, pruned = Store(workspace), family[2]
    told = figures_of(store, [pruned])[pruned.id]
    page = report_html(gather(pruned.path, store=store))
    for text in (numbers.exact(told.params), numbers.gflops(told.gflops), numbers.score(told.score)):
        assert text in page
    assert numbers.GFLOPS_LABEL in page
    assert main(["inspect", "--weights", str(pruned.path)]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.endswith(f"{numbers.exact(told.params)} parameters, {numbers.gflops_at(told.gflops)}")
    assert main(["preview", "--weights", str(pruned.path), "--prune-ratio", "0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"parameters {numbers.exact(told.params)} -> ") for line in lines)
    assert any(line.startswith(f"{numbers.GFLOPS_LABEL} {numbers.gflops(told.gflops)} -> ") for line in lines)


def test_a_checkpoint_is_opened_once_for_its_figures_and_a_deleted_model_keeps_them(family, workspace, monkeypatch):
    from engine.workspace import profiles

    store, (_, sparse, pruned, _) = Store(workspace), family
    before = figures_of(store, family)
    profiles._made_once.cache_clear()
    monkeypatch.setattr(profiles, "profile_of_file", lambda path: pytest.fail(f"{path} was opened again"))
    assert figures_of(store, family) == before
    store.delete_model(sparse.id)
    kept = figures_of(store, store.models(deleted=True))[sparse.id]
    assert (kept.params, kept.gflops, kept.score) == (before[sparse.id].params, before[sparse.id].gflops, kept.score)
    assert kept.score == before[sparse.id].score and kept.size_mb is None
    assert figures_of(store, [pruned])[pruned.id] == before[pruned.id]


def test_the_same_word_stands_for_a_metric_on_every_page(open_page, family):
    compare = open_page("compare", family[2].id)
    assert {"Precision", "Recall"} <= set(compare.dataframe[0].value.columns)
    assert not {"precision", "recall"} & set(compare.dataframe[0].value.columns)


def test_the_last_latency_of_a_model_is_told_with_what_it_was_measured_by(open_page, family, workspace):
    store, pruned = Store(workspace), family[2]
    for time_ms in (9.0, 8.434):
        job = store.add_job("latency", {"weights": [str(pruned.path)]}, "Latency", pruned.id)
        entry = timing(weights=str(pruned.path), digest=pruned.digest, threads=2, imgsz=320, p50_ms=time_ms)
        store.finish_job(job.id, "done", written("latency", results=[entry]))
    app = open_page("lineage", pruned.id)
    tile = next(metric for metric in app.metric if metric.label == "Latency")
    assert plain(tile.value) == "8.43 ms" and "ONNX Runtime, 2 threads, 320 px" in tile.help

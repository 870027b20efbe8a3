"""Models side by side: Ultralytics' own numbers, one set of images, and sentences for what cannot be compared."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, SegmentationModel
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.base.errors import CheckpointError, DatasetError, ExportError, StopRequested, StorageError, TrainingError
from engine.base.files import distinct_names, file_digest
from engine.cli import main
from engine.datasets import check_dataset, resolved_yaml
from engine.demo.dataset import make_demo_dataset
from engine.pruning.session import Slimming
from engine.reports.comparison import changes, comparable, compare, comparison_table, dataset_digest
from engine.settings.results import Measured, dumped, parsed
from engine.training import TrainSettings, compared_models
from engine.validation import validator
from engine.validation.matches import from_bytes, to_bytes
from engine.verbs import run_verb
from engine.workspace.store import Store
from tests.models import randomise, write_checkpoint
from tests.results import compared, written
from tests.short import short

ROOT = Path(__file__).resolve().parents[3]
NAMES = {0: "motorboat", 1: "sailboat", 2: "barge"}
ASK = {"imgsz": 160, "batch": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return Path(make_demo_dataset(tmp_path_factory.mktemp("data") / "set", train=2, val=4, imgsz=160))


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A model that really finds boats: numbers that are all zero would agree with anything."""
    source = ROOT / "demo" / "yolov8n-harbour-sparse.pt"
    return Path(shutil.copy(source, tmp_path_factory.mktemp("dense") / "best.pt"))


@pytest.fixture(scope="module")
def pruned(dense, tmp_path_factory) -> Path:
    return Slimming.open(dense).prune(0.5, tmp_path_factory.mktemp("pruned") / "pruned.pt")


def another(path: Path, names: dict[int, str], kind=DetectionModel, name: str = "detect") -> Path:
    model = randomise(kind(short(name), nc=len(names), verbose=False))
    model.names = names
    return write_checkpoint(model, path)


def test_sizes_and_accuracy_are_those_of_ultralytics_and_the_same_every_time(dense, pruned, data, tmp_path):
    result = run_verb("compare", {"weights": [str(dense), str(pruned), str(dense)], "data": str(data), **ASK})
    assert parsed("compare", json.loads(json.dumps(dumped(result), allow_nan=False))) == result
    first, small, again = result["models"]
    for measured in ("metrics", "per_class", "params", "gflops", "size_mb"):
        assert first[measured] == again[measured], "the same file gives the same numbers"
    assert not any(first["change"].values()) and not any(again["change"].values())
    description = resolved_yaml(check_dataset(data), tmp_path)
    for path, told in ((dense, first), (pruned, small)):
        model = YOLO(path)
        assert (told["params"], told["gflops"]) == (get_num_params(model.model), get_flops(model.model, 640))
        box = model.val(data=str(description), imgsz=160, batch=4, device="cpu", plots=False, project=tmp_path).box
        alone = [float(value) for value in (box.mp, box.mr, box.map50, box.map, *box.ap)]
        ours = [told["metrics"][name] for name in ("precision", "recall", "mAP50", "mAP50-95")]
        assert [*ours, *told["per_class"].values()] == pytest.approx(alone, abs=1e-6)
    assert first["metrics"]["mAP50"] > 0.3
    assert small["change"]["params"] == pytest.approx(small["params"] / first["params"] - 1)
    assert small["change"]["mAP50"] == small["metrics"]["mAP50"] - first["metrics"]["mAP50"]
    assert small["size_mb"] == pruned.stat().st_size / 1e6
    assert result["reference"] == str(dense) and result["artefacts"] == [] and result["imgsz"] == 160


def test_the_terminal_prints_an_aligned_table(dense, pruned, data, capsys):
    ask = ["compare", "--weights", pruned, "--reference", dense, "--data", data, "--gflops-imgsz", 320]
    ask += [part for key, value in ASK.items() for part in (f"--{key}", value)]
    assert main([str(part) for part in ask]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["best.pt", "pruned.pt"], "a reference that is not named stands first"
    assert len({len(line) for line in lines[:4]}) == 1
    assert f"{get_flops(YOLO(dense).model, 320):.2f}" in lines[2] and "(−" in lines[1]
    assert str(dense) in lines[-1] and any(line.startswith("AP barge") for line in lines)


def test_latency_is_measured_in_turns_with_the_reference_first_and_told_beside_the_rest(dense, pruned, data, capsys):
    told = []
    spec = {"weights": [str(pruned), str(dense), str(pruned)], "reference": str(dense), "data": str(data), **ASK}
    result = run_verb("compare", {**spec, "latency": True}, told.append)
    assert parsed("compare", json.loads(json.dumps(dumped(result), allow_nan=False))) == result
    prepared = [event["text"] for event in told if event.get("text", "").startswith("Preparing")]
    assert prepared == ["Preparing best.pt", "Preparing pruned.pt"], "one file is timed once"
    small, first, again = result["models"]
    assert 0 < small["latency_ms"] == again["latency_ms"] and first["latency_ms"] > 0
    assert small["change"]["latency_ms"] == pytest.approx(small["latency_ms"] / first["latency_ms"] - 1)
    conditions = result["latency"]
    assert (conditions["runtime"], conditions["imgsz"]) == ("onnx", 160) and conditions["threads"] >= 1
    lines = comparison_table(result).splitlines()
    row = next(line for line in lines if line.startswith("p50 ms"))
    assert f"{first['latency_ms']:.2f}" in row and f"{small['latency_ms']:.2f} (" in row
    threads = conditions["threads"]
    assert f"ONNX Runtime, {threads} thread{'s' if threads > 1 else ''}" in lines[-1] and "160 px" in lines[-1]


def test_a_latency_that_cannot_be_measured_is_said_before_anything_is_validated(dense, data):
    def never(*arguments, **settings):
        raise AssertionError("measured")

    with pytest.raises(ExportError, match="multiples of 32"):
        compare([dense], data, imgsz=16, latency=True, validate=never)


def test_the_terminal_offers_latency(dense, data, capsys):
    ask = ["compare", "--weights", dense, "--data", data, "--latency"]
    ask += [part for key, value in ASK.items() for part in (f"--{key}", value)]
    assert main([str(part) for part in ask]) == 0
    out = capsys.readouterr().out
    assert "p50 ms" in out and "ONNX Runtime" in out


def test_models_of_other_classes_or_tasks_are_refused_by_name_before_anything_is_measured(dense, data, tmp_path):
    def never(*arguments, **settings):
        raise AssertionError("measured")

    cats = another(tmp_path / "cats.pt", {0: "cat", 1: "dog", 2: "bird"})
    with pytest.raises(CheckpointError, match=r"cats\.pt knows other classes \(cat, dog, bird\)"):
        compare([dense, cats], data, validate=never)
    masks = another(tmp_path / "masks.pt", NAMES, SegmentationModel, "segment")
    with pytest.raises(CheckpointError, match=r"masks\.pt is a model for segment"):
        compare([dense, masks], data, validate=never)


def test_a_chain_compares_only_models_of_the_classes_that_its_last_one_knows(dense, pruned, tmp_path):
    cats, told = another(tmp_path / "cats.pt", {0: "cat"}), []
    assert comparable([cats, dense, pruned], told.append) == [dense, pruned]
    assert len(told) == 1 and "cats.pt is left out" in told[0]["text"]


def test_mistakes_end_with_one_line(dense, data, tmp_path, capsys):
    ask = ["compare", "--weights", str(dense), "--imgsz", "160", "--device", "cpu"]
    for more, word in (
        (["--data", "nowhere.yaml"], "nowhere.yaml"),
        (["--data", str(data), "--split", "test"], "test split"),
        (["--data", str(data), "--reference", str(tmp_path / "gone.pt")], "gone.pt"),
        (["--data", str(data), "--gflops-imgsz", "16"], "multiple of 32"),
    ):
        assert main([*ask, *more]) == 2
        told = capsys.readouterr()
        errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
        assert told.out == "" and len(errors) == 1 and word in errors[0]


class Memory(dict):
    """The simplest cache there is."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def put(self, key, measured):
        self[key] = measured

    def matches(self, key):
        return self.found.get(key)

    def put_matches(self, key, matches):
        self.found[key] = matches


def test_a_cache_spares_what_was_measured_until_labels_or_settings_change(dense, pruned, tmp_path):
    data = Path(make_demo_dataset(tmp_path / "set", train=2, val=2, imgsz=160))
    cache, measured = Memory(), []

    def validate(path, data, **settings):
        measured.append(path)
        return Measured.model_validate(written("val"))

    def run(**more):
        measured.clear()
        return compare([dense, pruned], data, cache=cache, validate=validate, **{**ASK, **more})

    first = run()
    assert len(measured) == 2 and run() == first and not measured
    run(batch=2)
    assert len(measured) == 2, "images of one batch share their padding"
    run()
    before = dataset_digest(data, "val")
    label = next((tmp_path / "set").glob("labels/val/*.txt"))
    os.utime(label, ns=(1, 1))
    assert dataset_digest(data, "val") != before
    run()
    assert len(measured) == 2
    data.write_text(data.read_text() + "\n# a remark\n")
    run()
    assert len(measured) == 2
    assert all(json.dumps(asdict(key)) for key in cache)
    with pytest.raises(DatasetError, match="no 'test' images"):
        run(split="test")


def test_steps_count_finished_models_and_a_wish_to_stop_is_heard_within_one(dense, pruned, data):
    events = []
    compare([dense, pruned], data, **ASK, report=events.append)
    steps = [(event["step"], event["steps"]) for event in events if event["kind"] == "step"]
    assert steps == sorted(steps) and {(1, 2), (2, 2)} <= set(steps)
    assert len([event for event in events if event["kind"] == "status"]) == 2

    def stop(event):
        if event["kind"] == "step":
            raise StopRequested

    with pytest.raises(StopRequested):
        compare([dense, pruned], data, **ASK, report=stop)


def test_names_take_as_many_folders_as_tell_them_apart():
    assert distinct_names([Path("/a/best.pt"), Path("/a/last.pt")]) == ["best.pt", "last.pt"]
    runs = [Path("/r/1/weights/best.pt"), Path("/r/2/weights/best.pt"), Path("/r/1/weights/best.pt")]
    assert distinct_names(runs) == ["1/weights/best.pt", "2/weights/best.pt", "1/weights/best.pt"]
    assert distinct_names([]) == []
    same_folder = [Path("/a/x/best.pt"), Path("/b/x/best.pt"), Path("/a/x/last.pt")]
    assert distinct_names(same_folder) == ["a/x/best.pt", "b/x/best.pt", "a/x/last.pt"]
    assert distinct_names([Path("/x/best.pt"), Path("/a/x/best.pt")]) == ["/x/best.pt", "a/x/best.pt"]


def test_changes_skip_what_has_no_reference():
    assert changes({"a": 3.0, "b": 1.0}, {"a": 4.0, "c": 1.0}, relative=True) == {"a": -0.25}
    assert changes({"a": 3.0}, {"a": 0.0}, relative=True) == {}
    assert changes({"a": 0.5}, {"a": 0.0}, relative=False) == {"a": 0.5}


def table_of(models, **changed):
    return comparison_table(parsed("compare", written("compare", models=models, **changed)))


def test_a_table_shows_classes_that_only_one_model_found():
    models = [compared(name="a", per_class={"cat": 0.5}), compared(name="b", per_class={})]
    told = table_of(models)
    assert "AP cat" in told and "0.500" in told and "–" in told and "GFLOPs at 640 px" in told
    assert "GFLOPs at 384 × 640 px" in table_of(models, gflops_imgsz=[384, 640])


def test_a_change_that_rounds_to_nothing_is_not_told():
    told = [
        compared(name=name, params=10, metrics={"mAP50": 0.5}, change={"params": change, "mAP50": change})
        for name, change in (("a", 0.0), ("b", -0.0004), ("c", -0.0006))
    ]
    lines = table_of(told, latency=None).splitlines()
    assert lines[1].split() == ["Parameters", "10", "10", "10", "(−0.1", "%)"]
    assert next(line for line in lines if "mAP50" in line).split() == ["mAP50", "0.500", "0.500", "0.500", "(−0.001)"]


def test_what_a_fine_tuning_measured_is_what_a_later_comparison_says_with_and_without_a_cache(
    dense, pruned, data, tmp_path, monkeypatch, warm
):
    ran = []
    real = validator.validate
    monkeypatch.setattr(validator, "validate", lambda *args, **more: ran.append(args[0]) or real(*args, **more))
    run = {"epochs": 1, "imgsz": 160, "batch": 2, "nbs": 2, "workers": 0, "device": "cpu", "lr0": 1e-5}
    wanted = {"weights": str(pruned), "reference": str(dense), "data": str(data), "save_dir": str(tmp_path / "run")}
    tuned = run_verb("finetune", {**wanted, **run, "workspace": str(tmp_path / "workspace")})
    rows = {row["role"]: row for row in tuned["comparison"]}
    assert list(rows) == ["parent", "child", "reference"] and rows["reference"]["metrics"]["mAP50"] > 0.3
    assert tuned["metrics"] == rows["child"]["metrics"]

    files = [tuned["best"], str(pruned), str(dense)]
    ask = {"weights": files, "data": str(data), "imgsz": 160, "device": "cpu"}
    ran.clear()
    looked_up = run_verb("compare", {**ask, "workspace": str(tmp_path / "workspace")})
    assert ran == [], "everything was measured by the fine-tuning"
    told = {model["weights"]: model["metrics"] for model in looked_up["models"]}
    assert told == {row["weights"]: row["metrics"] for row in rows.values()}
    asked = ("--data", data, "--imgsz", 160, "--device", "cpu", "--json")
    alone = warm.run("-m", "engine", "compare", "--weights", *files, *asked)
    assert alone.returncode == 0, alone.stderr
    anew = json.loads(alone.stdout)["models"]
    for model, known in zip(anew, looked_up["models"], strict=True):
        assert (model["metrics"], model["per_class"]) == (known["metrics"], known["per_class"]), "in another process"

    store = Store(tmp_path / "workspace")
    digest = file_digest(tuned["best"])
    assert [result["metrics"] for _, result in store.measured([digest])] == [tuned["metrics"]]


def settings_of(weights: Path, data: Path, folder: Path, **more) -> TrainSettings:
    known = {"epochs": 1, "imgsz": 160, "batch": 4, "workers": 0, "device": "cpu"}
    return TrainSettings(str(weights), Path(resolved_yaml(check_dataset(data), folder)), folder, **{**known, **more})


def test_where_memory_is_short_a_run_s_own_batch_is_measured_with_and_kept_as_such(dense, data, tmp_path, monkeypatch):
    real = validator.validate

    def short_of_memory(*arguments, batch, **more):
        if batch > 4:
            raise TrainingError(f"Out of memory on cpu at batch {batch} and 160 px; lower one of them.")
        return real(*arguments, batch=batch, **more)

    monkeypatch.setattr(validator, "validate", short_of_memory)
    cache, told = Memory(), []
    settings = settings_of(dense, data, tmp_path)
    (row,) = compared_models({"child": str(dense)}, settings, "detect", data, cache, told.append).rows
    ((key, measured),) = cache.items()
    assert (key.batch, key.weights) == (4, file_digest(dense)) and measured["metrics"] == row.metrics
    larger = replace(settings, batch=16)
    assert not compared_models({"child": str(dense)}, larger, "detect", data, Memory(), told.append).rows
    assert "The child is left out of the comparison: Out of memory on cpu at batch 16" in told[-1]["text"]


def test_neither_a_missing_file_nor_a_lost_data_set_nor_a_full_disk_ends_a_comparison(dense, data, tmp_path):
    class Full(Memory):
        def get(self, key):
            raise StorageError("The database is locked.")

        def put(self, key, measured):
            raise StorageError("The disk is full.")

    told, settings = [], settings_of(dense, data, tmp_path)
    roles = {"parent": str(tmp_path / "gone.pt"), "child": str(dense)}
    (row,) = compared_models(roles, settings, "detect", data, Full(), told.append).rows
    assert row.role == "child" and row.metrics["mAP50"] > 0.3
    words = " ".join(event["text"] for event in told)
    assert "The parent is left out" in words and "not kept for later: The disk is full." in words
    cache = Memory()
    moved = tmp_path / "moved.yaml"
    (again,) = compared_models({"child": str(dense)}, settings, "detect", moved, cache, told.append).rows
    assert again.metrics == row.metrics and not cache, "the run keeps a description that still works"


def test_a_damaged_record_of_what_was_found_ends_no_comparison(dense, pruned, data, tmp_path):
    roles, told, cache = {"parent": str(dense), "child": str(pruned)}, [], Memory()
    first = compared_models(roles, settings_of(dense, data, tmp_path), "detect", data, cache, told.append)
    assert [each.against for each in first.verdicts] == ["parent"]
    found = {key: from_bytes(content) for key, content in cache.found.items()}
    cache.found = {key: to_bytes(replace(each, object_image=each.object_image + 99)) for key, each in found.items()}
    again = compared_models(roles, settings_of(dense, data, tmp_path), "detect", data, cache, told.append)
    assert again.rows == first.rows and not again.verdicts
    assert "How sure the comparison is cannot be told: IndexError" in told[-1]["text"]


def test_a_wish_to_stop_ends_a_comparison_with_what_there_is(dense, data, tmp_path):
    def stop(event):
        if "pruned" in event["text"]:
            raise StopRequested

    second = shutil.copy(dense, tmp_path / "pruned.pt")
    roles = {"parent": str(dense), "child": str(second)}
    compared = compared_models(roles, settings_of(dense, data, tmp_path), "detect", data, None, stop)
    assert [row.role for row in compared.rows] == ["parent"] and not compared.verdicts

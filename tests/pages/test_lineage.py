"""The Lineage page: the family, one member of it, and the command that makes it again."""

import shlex

import pytest

from app.models import library
from engine.settings.parser import build_parser
from engine.workspace.store import Store
from tests.results import written


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


@pytest.fixture
def pruned(demo, workspace):
    return library.prune_into(Store(workspace), demo.sparse, {"prune_ratio": 0.5, "imgsz": 320, "round_to": 8})


@pytest.fixture
def exported(pruned, workspace):
    store = Store(workspace)
    job = store.add_job("export", {"weights": str(pruned.path), "imgsz": 320, "dynamic": True}, "Export", pruned.id)
    store.finish_job(job.id, "done", written("export", size_mb=2.5))
    return job


def test_without_a_model_the_page_says_what_it_is_for(open_page):
    assert "what a model was made from" in said(open_page("lineage"))


def test_the_family_and_the_settings_of_the_current_model_show(open_page, demo, pruned, exported):
    app = open_page("lineage", pruned.id)
    assert not app.error
    listed = app.selectbox(key="lineage member")
    assert [label.strip() for label in listed.options] == [
        "Demo: dense", "Demo: sparse-trained", pruned.name, "ONNX fp32",
    ]  # fmt: skip
    assert listed.value == pruned.id and app.subheader[0].value.replace("\\", "") == pruned.name
    command = shlex.split(app.code[0].value)
    told = vars(build_parser().parse_args(command[3:]))
    assert (told["verb"], told["weights"], told["prune_ratio"]) == ("prune", str(demo.sparse.path), 0.5)
    settings = app.dataframe[0].value
    assert dict(zip(settings["Setting"], settings["Value"], strict=True)) == {
        "weights": "Demo: sparse-trained", "prune ratio": "0.5", "imgsz": "320", "round to": "8",
    }  # fmt: skip


def test_choosing_a_member_opens_it_and_an_export_shows_its_own_making(open_page, demo, pruned, exported):
    app = open_page("lineage", pruned.id)
    app.selectbox(key="lineage member").set_value(exported.id).run()
    assert not app.exception
    assert app.session_state["model_id"] == pruned.id and app.subheader[0].value == "ONNX fp32"
    assert app.code[0].value.endswith("--imgsz 320 --dynamic")
    app.selectbox(key="lineage member").set_value(demo.dense.id).run()
    assert app.session_state["model_id"] == demo.dense.id and app.subheader[0].value == "Demo: dense"
    assert "engine.demo.make" in app.code[0].value


def test_an_export_shows_its_change_and_no_number_to_take_for_the_models(open_page, pruned, workspace):
    store = Store(workspace)
    job = store.add_job("export", {"weights": str(pruned.path), "nms": True}, "Export", pruned.id)
    metrics = {"mAP50-95": 0.553, "mAP50-95 fp32": 0.555}
    store.finish_job(job.id, "done", written("export", precision="int8", nms=True, size_mb=2.5, metrics=metrics))
    app = open_page("lineage", pruned.id)
    app.selectbox(key="lineage member").set_value(job.id).run()
    assert not app.exception and app.subheader[0].value == "ONNX int8 with NMS"
    told = {metric.label: metric.value for metric in app.metric}
    assert told == {"mAP50-95 by export": "−0.002", "File": "2.50\u00a0MB"}


def test_another_model_in_the_sidebar_takes_the_place_of_an_export(open_page, demo, pruned, exported):
    app = open_page("lineage", pruned.id)
    app.selectbox(key="lineage member").set_value(exported.id).run()
    app.selectbox(key="model_picker").set_value(demo.sparse.id).run()
    assert not app.exception and app.subheader[0].value == "Demo: sparse-trained"


def test_a_model_whose_file_is_gone_still_tells_its_settings(open_page, demo, pruned):
    pruned.path.unlink()
    app = open_page("lineage", pruned.id)
    assert not app.exception and not app.error and "prune ratio" in app.dataframe[0].value["Setting"].tolist()


def test_an_imported_model_has_no_command(open_page, demo, workspace):
    store = Store(workspace)
    source = store.folder / "alone.pt"
    source.write_bytes(demo.dense.path.read_bytes() + b"\0")
    alone = store.add_model(source, "Alone", "imported", made={"verb": "import", "file": "alone.pt"})
    source.unlink()
    alone.path.unlink()
    app = open_page("lineage", alone.id)
    assert not app.exception and not app.code and "no command" in said(app)

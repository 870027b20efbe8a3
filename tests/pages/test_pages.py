"""Every page in every state: nothing open, the demo open, bad input. One sentence each time, never a traceback."""

import io
import pickle

import pytest

from app.models import library
from engine.workspace.store import Store

PAGES = ("models", "gammas", "recipes", "prune", "train", "jobs", "export")


def said(app) -> str:
    """Return everything that a page says in words."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.success, app.error, app.title, app.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def errors(app) -> list[str]:
    return [element.value.replace("\\", "") for element in app.error]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_a_model_says_what_it_is_for(open_page, name):
    app = open_page(name)
    assert not app.error
    assert len(said(app)) > 60


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_the_demo_has_no_error(open_page, demo, name):
    app = open_page(name, demo.sparse.id)
    assert not app.error
    assert app.selectbox(key="model_picker").value == demo.sparse.id


def test_the_numbers_of_a_model_stand_first_in_the_table_where_a_narrow_window_shows_them(open_page, demo):
    app = open_page("models", demo.sparse.id)
    columns = list(app.dataframe[0].value.columns)
    assert columns[:5] == ["Name", "Parameters", "GFLOPs at 640 px", "mAP50-95", "Measured"]


def test_the_demo_opens_with_one_press(open_page, workspace):
    app = open_page()
    app.button(key="open demo").click().run()
    assert not app.exception and not app.error
    assert {model.name for model in Store(workspace).models()} == {"Demo: dense", "Demo: sparse-trained"}
    assert app.title[0].value == "Gammas"


def test_a_model_that_was_never_sparse_trained_is_recognised(open_page, demo):
    app = open_page("gammas", demo.dense.id)
    from engine.profile.gammas import summarise_gammas
    from engine.pruning.gammas import collect_gammas
    from engine.pruning.session import Slimming

    summary = summarise_gammas(collect_gammas(Slimming.open(demo.dense.path).checkpoint.model))
    shown = app.success if summary.sparse else app.warning
    assert summary.verdict in [element.value.replace("\\", "") for element in shown]


def test_the_slider_shows_what_the_engine_previews(open_page, demo):
    from engine.pruning.session import Slimming

    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.5).run()
    opened = Slimming.open(demo.sparse.path)
    preview = opened.preview(0.5, imgsz=opened.checkpoint.imgsz)
    metrics = {metric.label: metric for metric in app.metric}
    assert metrics["Channels"].value == f"{preview.channels:,}"
    assert metrics["Ratio achieved"].value == f"{preview.ratio_achieved:.2f}"
    assert f"{preview.params:,}" in metrics["Parameters"].help
    assert preview.limiting_layer in said(app).replace("\\", "")


def test_a_budget_takes_the_slider_s_place_and_is_met_from_below(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    app.segmented_control(key="target").set_value("Parameters").run()
    budget = next(box for box in app.number_input if box.label == "At most so many parameters")
    budget.set_value(1_000_000).run()
    assert not app.exception
    shown = next(metric for metric in app.metric if metric.label == "Parameters")
    params = int(shown.help.split()[0].replace(",", ""))
    assert 950_000 < params <= 1_000_000


def test_limits_and_scores_on_the_page_are_those_of_the_terminal(open_page, demo):
    from engine.pruning.session import Slimming
    from engine.settings.plan import PlanSettings
    from engine.verbs import plan_arguments

    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.4)
    app.selectbox(key="round to").set_value(8)
    app.selectbox(key="scope").set_value("uniform")
    app.selectbox(key="criterion").set_value("l1")
    locked = next(box for box in app.multiselect if box.label == "Locked layers")
    locked.set_value(["model.0.bn"]).run()
    assert not app.exception
    spec = {"prune_ratio": 0.4, "round_to": 8, "scope": "uniform", "criterion": "l1", "lock": ["model.0.bn"]}
    asked = plan_arguments(PlanSettings.read(spec))
    preview = Slimming.open(demo.sparse.path).preview(asked.target, asked.settings, importance=asked.importance)
    assert next(metric for metric in app.metric if metric.label == "Channels").value == f"{preview.channels:,}"
    assert preview.layers[0].after == preview.layers[0].before


def test_a_layer_ratio_that_cannot_be_read_is_refused_in_one_sentence(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    text = next(box for box in app.text_input if box.label == "Layers with a ratio of their own")
    text.set_value("model.0.bn:0.5").run()
    assert not app.exception
    assert len(app.error) == 1 and "NAME=RATIO" in app.error[0].value


def test_beyond_the_largest_ratio_a_warning_names_the_layer(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.9).run()
    assert any("floors hold" in element.value for element in app.warning)


def test_pruning_registers_a_child_and_offers_to_open_it(open_page, demo, workspace):
    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.5).run()
    app.button(key="prune").click().run()
    assert not app.exception and not app.error
    child = next(model for model in Store(workspace).models() if model.kind == "pruned")
    assert child.parent_id == demo.sparse.id and child.params < 3_000_000
    assert any("Stock Ultralytics training" in caption.value for caption in app.caption)
    app.button(key="open pruned").click().run()
    assert app.session_state["model_id"] == child.id


def test_a_ratio_that_cannot_be_reached_is_refused_in_one_sentence(open_page, demo, workspace):
    app = open_page("prune", demo.sparse.id)
    app.number_input(key="floor").set_value(64)
    app.slider(key="ratio").set_value(0.95).run()
    app.button(key="prune").click().run()
    assert not app.exception
    assert len(errors(app)) == 1 and "largest possible ratio" in errors(app)[0]
    assert not [model for model in Store(workspace).models() if model.kind == "pruned"]


def test_prune_and_finetune_starts_a_job_that_a_new_session_finds(open_page, demo, workspace, started_jobs):
    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.4).run()
    app.number_input(key="finetune epochs").set_value(1)
    app.button(key="prune and finetune").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    assert (job.verb, job.spec["epochs"], job.spec["data"]) == ("finetune", 1, str(demo.data))
    assert Store(workspace).model(job.model_id).parent_id == demo.sparse.id
    assert job.id in app.query_params["job"]
    assert job.title in said(open_page("jobs"))


@pytest.mark.parametrize("kind", ["sparsify", "train", "finetune", "val"])
def test_training_starts_with_the_settings_shown(open_page, demo, workspace, started_jobs, kind):
    app = open_page("train", demo.dense.id)
    app.button_group(key=f"kind {demo.dense.id}").set_value(kind).run()
    app.button(key="start").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    assert job.verb == kind and job.spec["weights"] == str(demo.dense.path)
    assert "prune_ratio" in job.spec if kind == "sparsify" else "method" not in job.spec
    assert app.title[0].value == "Jobs"


def test_a_data_set_that_points_nowhere_is_refused_in_one_sentence(open_page, demo):
    app = open_page("train", demo.dense.id)
    app.button_group(key=f"train source {demo.dense.id}").set_value("My own").run()
    app.text_input(key=f"train path {demo.dense.id}").set_value("/nowhere/data.yaml").run()
    assert not app.exception
    assert errors(app) == ["The data set file /nowhere/data.yaml does not exist; give the path of a data.yaml."]
    assert app.button(key="start").disabled


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", pickle.dumps({"no": "model"}), pickle.dumps(io.StringIO)],
    ids=["empty", "text", "without a model", "a foreign class"],
)
def test_a_bad_upload_is_refused_in_one_sentence_and_leaves_nothing_behind(open_page, workspace, content):
    app = open_page()
    before = sorted(workspace.rglob("*.pt"))
    app.file_uploader(key="upload").upload("broken.pt", content, "application/octet-stream").run()
    assert not app.exception
    assert len(errors(app)) == 1 and errors(app)[0].startswith("broken.pt")
    app.run()
    assert len(errors(app)) == 1
    assert sorted(workspace.rglob("*.pt")) == before
    assert not [path for path in workspace.iterdir() if path.name.startswith(".aside")]
    assert not Store(workspace).models()


def test_an_upload_is_registered_once(workspace, demo):
    store = Store(workspace)
    again = library.add_upload(store, "mine.pt", demo.dense.path.stat().st_size, demo.dense.path.open("rb"))
    assert again.id == demo.dense.id
    assert len(store.models()) == 2


@pytest.mark.parametrize("name", ["nonsense.pt", "/nowhere/best.pt", "notes.txt"])
def test_a_name_that_is_neither_file_nor_official_is_refused(open_page, workspace, name):
    app = open_page()
    app.text_input(key="official name").set_value(name)
    app.button(key="open by name").click().run()
    assert not app.exception
    assert len(errors(app)) == 1
    assert not Store(workspace).models()


def test_a_model_is_renamed_and_deleted(open_page, demo, workspace):
    app = open_page("models", demo.dense.id)
    app.text_input(key=f"name {demo.dense.id}").set_value("Harbour *best*")
    app.button(key=f"rename {demo.dense.id}").click().run()
    assert Store(workspace).model(demo.dense.id).name == "Harbour *best*"
    app.button(key=f"delete {demo.dense.id}").click().run()
    assert not app.exception and not app.error
    assert [model.id for model in Store(workspace).models()] == [demo.sparse.id]


def test_a_model_that_was_deleted_elsewhere_is_let_go(open_page, demo, workspace):
    app = open_page("gammas", demo.dense.id)
    Store(workspace).delete_model(demo.dense.id)
    app.run()
    assert not app.exception
    assert "No model is open" in said(app)


def test_a_job_that_does_not_exist_is_explained(open_page, demo, workspace):
    Store(workspace).add_job("val", {"weights": "x.pt"}, "Validate x")
    app = open_page("jobs")
    app.query_params["job"] = "gone"
    app.run()
    assert not app.exception
    assert any("There is no job gone" in element.value for element in app.warning)


def test_the_list_tells_models_of_one_name_apart(open_page, workspace, demo):
    store = Store(workspace)
    store.rename_model(demo.dense.id, demo.sparse.name)
    for model, other in ((demo.sparse, demo.dense), (demo.dense, demo.sparse)):
        app = open_page("gammas", model.id)
        picker = app.sidebar.selectbox(key="model_picker")
        assert picker.value == model.id and len(set(picker.options)) == 2
        picker.select(other.id).run()
        assert app.session_state["model_id"] == other.id

"""A data set that does not fit the open model: both lists of classes, what will happen, and a tick before the start."""

import pytest
import yaml

from engine.workspace.store import Store

BOATS, CELLS = ["motorboat", "sailboat", "barge"], ["Platelets", "RBC", "WBC"]


@pytest.fixture
def data_of(demo, workspace, tmp_path):
    """Return a function that writes a description of the demo's images with other classes, or more."""

    def write(name: str = "data", **changes) -> str:
        from engine.demo.shipped import demo_data

        source = demo_data(Store(workspace))
        description = yaml.safe_load(source.read_text()) | {"path": str(source.parent)} | changes
        description.pop("nc", None)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(description))
        return str(path)

    return write


@pytest.fixture
def open_with(open_page, demo):
    """Return a function that opens a page with a data set of one's own, and what was chosen before."""

    def open_at(page: str, key: str, data: str, model=None, **chosen):
        model = model or demo.dense
        app = open_page(page, model.id)
        for name, value in chosen.items():
            app.button_group(key=f"{name} {model.id}").set_value(value).run()
        app.button_group(key=f"{key} source {model.id}").set_value("My own").run()
        app.text_input(key=f"{key} path {model.id}").set_value(data).run()
        assert not app.exception
        return app

    return open_at


@pytest.fixture
def pruned(demo, workspace, tmp_path):
    from engine.pruning.session import Slimming

    path = Slimming.open(demo.sparse.path).prune(0.5, tmp_path / "pruned.pt")
    return Store(workspace).add_model(path, "Pruned", "pruned", parent_id=demo.sparse.id)


def said(app) -> str:
    return "\n".join(element.value for element in (*app.warning, *app.error))


def class_lists(app) -> list[list[str]]:
    frames = [frame.value for frame in app.dataframe if "The model knows" in frame.value.columns]
    return [list(frames[0][name]) for name in ("The model knows", "The data set describes")] if frames else []


def agreement(app):
    return next(iter(box for box in app.checkbox if str(box.key).startswith("agree ")), None)


@pytest.mark.parametrize("kind", ["sparsify", "train", "finetune", "val"])
def test_nothing_is_asked_where_the_data_set_fits(open_page, demo, kind):
    app = open_page("train", demo.dense.id)
    app.button_group(key=f"kind {demo.dense.id}").set_value(kind).run()
    assert agreement(app) is None and not class_lists(app)
    assert not app.button(key="start").disabled


def test_data_of_other_classes_shows_both_lists_and_asks_before_a_training(open_with, data_of, workspace, started_jobs):
    app = open_with("train", "train", data_of(names=CELLS), kind="train")
    assert class_lists(app) == [BOATS, CELLS]
    assert "other classes" in said(app) and app.button(key="start").disabled
    agreement(app).check().run()
    assert not app.button(key="start").disabled
    app.button(key="start").click().run()
    assert not app.exception and len(Store(workspace).jobs()) == 1


def test_data_of_more_classes_says_that_the_head_will_be_trained_anew(open_with, data_of):
    app = open_with("train", "train", data_of(names=[*BOATS, "ferry", "raft"]), kind="sparsify")
    assert class_lists(app) == [[*BOATS, "–", "–"], [*BOATS, "ferry", "raft"]]
    assert "Its head will be built anew" in said(app) and app.button(key="start").disabled
    assert agreement(app) is not None


def test_classes_that_are_counted_as_one_by_an_argument_are_asked_about_as_well(open_with, data_of):
    app = open_with("train", "train", data_of(), kind="train")
    assert agreement(app) is None and not app.button(key="start").disabled
    app.text_input(key="train train arguments").set_value("single_cls=True").run()
    assert class_lists(app) == [BOATS, ["item", "–", "–"]] and app.button(key="start").disabled
    agreement(app).check().run()
    assert not app.button(key="start").disabled


def test_a_pruned_model_on_more_classes_cannot_be_started(open_with, data_of, pruned):
    app = open_with("train", "train", data_of(names=[*BOATS, "ferry"]), model=pruned, kind="finetune")
    assert "This model is pruned" in said(app) and agreement(app) is None
    assert app.button(key="start").disabled


def test_validation_on_other_names_is_said_and_not_asked(open_with, data_of):
    app = open_with("train", "train", data_of(names=CELLS), kind="val")
    assert "count by their number" in said(app) and agreement(app) is None
    assert not app.button(key="start").disabled


def test_pruning_and_fine_tuning_in_one_press_asks_as_well(open_with, data_of, demo):
    app = open_with("prune", "finetune", data_of(names=CELLS), model=demo.sparse)
    app.slider(key="ratio").set_value(0.5).run()
    assert class_lists(app) == [BOATS, CELLS] and app.button(key="prune and finetune").disabled
    assert not app.button(key="prune").disabled
    agreement(app).check().run()
    assert not app.button(key="prune and finetune").disabled


def test_compare_shows_classes_of_other_names_and_asks_nothing(open_with, data_of):
    app = open_with("compare", "compare", data_of(names=CELLS))
    assert class_lists(app) == [BOATS, CELLS] and agreement(app) is None
    assert "count by their number" in said(app)


def test_a_recipe_asks_as_well_and_export_and_compare_refuse_what_cannot_be_measured(open_with, data_of):
    app = open_with("recipes", "recipe", data_of(names=CELLS))
    assert class_lists(app) == [BOATS, CELLS] and app.button(key="run recipe").disabled
    agreement(app).check().run()
    assert not app.button(key="run recipe").disabled
    grey = data_of("grey", channels=1)
    for page, press in (("export", "export"), ("compare", None)):
        app = open_with(page, page, grey)
        assert "images of 3 channels, and those of the data set have 1" in said(app)
        assert press is None or app.button(key=press).disabled

"""The pages of a classifier speak of its own metric: nowhere an empty mAP."""

import pytest

from engine.workspace.store import Store
from tests.results import written
from tests.tasks import write_data, write_model


@pytest.fixture
def classifier(workspace, tmp_path):
    model = Store(workspace).add_model(
        write_model("classify", tmp_path / "c.pt"), "Classifier", "imported", metrics={"accuracy_top1": 0.75}
    )
    return model


def _said(app) -> str:
    parts = [each.value for each in (*app.markdown, *app.caption)]
    parts += [f"{each.label} {each.value}" for each in app.metric]
    parts += [" ".join(map(str, [*frame.value.columns, *frame.value.to_numpy().ravel()])) for frame in app.dataframe]
    return " ".join(map(str, parts))


@pytest.mark.parametrize("page", ["models", "prune", "train", "compare", "export", "lineage"])
def test_no_page_of_a_classifier_speaks_of_map(page, open_page, classifier):
    app = open_page(page, classifier.id)
    assert not app.error and "mAP" not in _said(app)
    if page == "models":
        assert "Top-1 accuracy" in _said(app) and "0.750" in _said(app)


def test_the_train_page_takes_a_folder_of_classes(open_page, classifier, tmp_path):
    data = write_data("classify", tmp_path / "set")
    app = open_page("train", classifier.id)
    app.text_input(key=f"train path {classifier.id}").set_value(str(data)).run()
    assert not app.exception and not app.error
    assert "9 train, 6 val images · 3 classes" in _said(app)
    assert not app.button(key="start").disabled


def test_a_classifiers_validation_shows_its_metrics(open_page, classifier, workspace):
    store = Store(workspace)
    result = written(
        "val",
        metrics={"accuracy_top1": 0.75, "accuracy_top5": 1.0},
        per_class={"red": 0.5, "blue": 1.0},
        images=6,
        instances=6,
    )
    job = store.add_job("val", {"weights": str(classifier.path)}, "Validate", classifier.id)
    store.finish_job(job.id, "done", result)
    app = open_page("jobs", classifier.id)
    assert "Top-1 accuracy" in _said(app) and "mAP" not in _said(app)

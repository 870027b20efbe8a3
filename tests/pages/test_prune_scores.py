"""The Prune page with criteria that look at images: by gamma until their scores are there, then by them."""

import pytest

from engine import verbs
from engine.settings.choices import CRITERIA, DATA_CRITERION
from engine.workspace.store import Store

LABEL = CRITERIA[DATA_CRITERION].label


def lines(app):
    return " ".join(caption.value for caption in app.caption)


def parameters(app):
    return next(metric.value for metric in app.metric if metric.label == "Parameters")


def test_a_dense_model_goes_by_gamma_until_the_scores_are_computed(open_page, demo, workspace, started_jobs):
    app = open_page("prune", demo.dense.id)
    assert app.selectbox(key="criterion").value is None and app.selectbox(key="criterion").placeholder.endswith(LABEL)
    app.number_input(key="score images").set_value(16)
    app.slider(key="ratio").set_value(0.5).run()
    assert f"go by gamma until their scores by {LABEL}" in lines(app)
    by_gamma = parameters(app)
    app.button(key="measure preview").click().run()
    (job,) = Store(workspace).jobs()
    assert not app.exception and (job.verb, job.model_id) == ("preview", demo.dense.id)
    assert (job.spec["criterion"], job.spec["score_images"]) == (DATA_CRITERION, 16)

    page = open_page("jobs")
    assert not page.error and any("Scores of" in text.value for text in [*page.markdown, *page.caption])
    verbs.run_verb("preview", {**job.spec, "workspace": str(workspace)})  # what the worker does
    app = open_page("prune", demo.dense.id)
    app.number_input(key="score images").set_value(16)
    app.slider(key="ratio").set_value(0.5).run()
    assert f"Channels go by {LABEL}, on 16 training images" in lines(app)
    shown = parameters(app)
    assert shown != by_gamma
    app.button(key="prune").click().run()
    assert not app.exception and not app.error
    made = next(model for model in Store(workspace).models() if model.kind == "pruned")
    assert made.made["spec"]["criterion"] == DATA_CRITERION and made.made["spec"]["score_images"] == 16
    app.selectbox(key="criterion").select("gamma").run()
    assert parameters(app) == by_gamma and "Channels go" not in lines(app)


def test_what_is_pruned_while_there_are_no_scores_is_what_is_shown(open_page, demo, workspace):
    app = open_page("prune", demo.dense.id)
    app.slider(key="ratio").set_value(0.5).run()
    app.button(key="prune").click().run()
    made = next(model for model in Store(workspace).models() if model.kind == "pruned")
    assert made.made["spec"]["criterion"] == "gamma" and not app.exception


def test_without_images_to_score_on_the_data_set_to_fine_tune_with_recalibrates(open_page, demo, workspace):
    app = open_page("prune", demo.dense.id)
    app.segmented_control(key=f"scores source {demo.dense.id}").set_value("My own").run()
    assert "so choose a data set under Scores" in lines(app)
    app.slider(key="ratio").set_value(0.5).run()
    app.button(key="prune").click().run()
    spec = next(model for model in Store(workspace).models() if model.kind == "pruned").made["spec"]
    assert spec["data"].endswith("data.yaml") and spec["recalibrate"] > 0 and spec["criterion"] == "gamma"


def test_accuracy_is_measured_on_the_data_set_that_channels_are_scored_on(open_page, demo, workspace):
    app = open_page("prune", demo.dense.id)
    app.number_input(key="score images").set_value(16).run()
    start = {"weights": str(demo.dense.path), "prune_ratio": 0.0, "workspace": str(workspace), "score_images": 16}
    data = str(workspace / "datasets" / "demo" / "data.yaml")
    verbs.run_verb("preview", {**start, "criterion": DATA_CRITERION, "data": data})
    app.run()
    app.button(key="measure accuracy").click().run()
    assert f"measure source {demo.dense.id}" not in [each.key for each in app.segmented_control]
    assert not app.exception and not app.button(key="start measuring").disabled
    assert any("that channels are scored on" in caption.value for caption in app.caption)


@pytest.mark.parametrize("chosen", [None, "l1"])
def test_a_sparse_trained_model_goes_by_gamma(open_page, demo, chosen):
    app = open_page("prune", demo.sparse.id)
    app.selectbox(key="criterion").set_value(chosen).run()
    assert "Channels go" not in lines(app) and not app.exception
    app.selectbox(key="criterion").select("fisher").run()
    assert "Channels go by gamma until their scores by Fisher" in lines(app)

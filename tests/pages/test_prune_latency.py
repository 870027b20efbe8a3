"""The Prune page with a latency for a target: before this machine has timed the model, and afterwards."""

import shutil
import time

import pytest

from engine import jobs
from engine.checkpoints.checkpoint import open_checkpoint
from engine.settings.command import command_of
from engine.workspace.store import Store

IMGSZ = 640
"Of the page, unless another is chosen: the same as on the terminal."


def measuring(model, imgsz=IMGSZ):
    return {"weights": str(model.path), "predict": True, "imgsz": imgsz, "threads": 1}


def use_tables(patch, folder):
    patch.setenv("YOLO_CONFIG_DIR", str(folder))
    patch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def untimed(tmp_path, monkeypatch):
    """A machine that has timed nothing."""
    use_tables(monkeypatch, tmp_path / "config")


@pytest.fixture(scope="module")
def timed_folder(tmp_path_factory, demo_workspace):
    """The tables of a machine that has timed the demo's sparse-trained model, in a job like that of the button."""
    from engine.demo.shipped import open_demo

    folder, workspace = tmp_path_factory.mktemp("config"), tmp_path_factory.mktemp("timing") / "workspace"
    shutil.copytree(demo_workspace, workspace)
    store = Store(workspace)
    model = open_demo(store).sparse
    with pytest.MonkeyPatch.context() as patch:
        use_tables(patch, folder)
        job = jobs.submit(store, "latency", measuring(model), "Latency", model.id)
        deadline = time.monotonic() + 500
        while not store.job(job.id).finished and time.monotonic() < deadline:
            time.sleep(0.1)
    job = jobs.kill(store, job.id)
    assert job.state == "done", job.reason
    return folder


@pytest.fixture
def timed(timed_folder, monkeypatch):
    use_tables(monkeypatch, timed_folder)


def aim_at_latency(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    app.segmented_control(key="target").set_value("Latency").run()
    assert not app.exception
    return app


def captions(app):
    return " ".join(element.value for element in app.caption).replace("\\", "")


def tile(app, label):
    return next((metric for metric in app.metric if metric.label == label), None)


def tile_ms(app):
    return float(tile(app, "Latency").value.removesuffix("\u00a0ms"))


def target(app):
    return next((box for box in app.number_input if box.label == "At most so many milliseconds an image"), None)


def test_before_the_model_was_timed_the_page_says_so_and_offers_it(open_page, demo, untimed):
    app = aim_at_latency(open_page, demo)
    assert "This machine has not timed this model at 640 px yet" in captions(app)
    assert target(app) is None and tile(app, "Latency") is None
    assert app.button(key="prune").disabled and "Measure the latency first." in captions(app)
    assert app.button(key="measure latency").label == "Measure latency"


def test_the_button_starts_a_job_and_makes_way_for_its_progress(open_page, demo, workspace, untimed, started_jobs):
    app = aim_at_latency(open_page, demo)
    app.button(key="measure latency").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    assert (job.verb, job.spec, job.model_id) == ("latency", measuring(demo.sparse), demo.sparse.id)
    assert "measure latency" not in [button.key for button in app.button]
    app.button(key=f"stop {job.id}").click().run()
    deadline = time.monotonic() + 60
    while not Store(workspace).job(job.id).finished and time.monotonic() < deadline:
        time.sleep(0.1)
    app.run()
    assert "measuring again goes on from there" in captions(app)
    assert not app.button(key="measure latency").disabled


def test_a_latency_job_of_several_models_is_not_taken_for_this_one(open_page, demo, workspace, untimed):
    Store(workspace).add_job("latency", {"weights": ["a.pt", "b.pt"], "imgsz": IMGSZ}, "Latency", demo.sparse.id)
    app = aim_at_latency(open_page, demo)
    assert app.button(key="measure latency").label == "Measure latency"


def test_a_measurement_that_failed_says_why(open_page, demo, workspace, untimed):
    store = Store(workspace)
    job = store.add_job("latency", measuring(demo.sparse), "Latency", demo.sparse.id)
    store.finish_job(job.id, "failed", error="The model could not be exported to onnx: no such operator")
    app = open_page("prune", demo.sparse.id)
    app.session_state[f"measuring latency {demo.sparse.id}"] = job.id
    app.segmented_control(key="target").set_value("Latency").run()
    assert [error.value for error in app.error] == ["The model could not be exported to onnx: no such operator"]
    assert not app.button(key="measure latency").disabled


def test_a_size_at_which_the_model_does_not_run_is_one_sentence(open_page, demo, untimed):
    for aim in ("Latency", "GFLOPs"):
        app = open_page("prune", demo.sparse.id)
        app.segmented_control(key="target").set_value(aim).run()
        size = next(box for box in app.text_input if box.label == "Image size for costs")
        size.set_value("100").run()
        assert not app.exception and len(app.error) == 1 and "100 is not a positive multiple" in app.error[0].value
        next(box for box in app.text_input if box.label == "Image size for costs").set_value(str(IMGSZ)).run()
        assert not app.exception and not app.error


def test_a_budget_of_gflops_starts_at_half_of_what_the_model_has_at_that_size(open_page, demo, untimed):
    app = open_page("prune", demo.sparse.id)
    app.segmented_control(key="target").set_value("GFLOPs").run()
    budget = next(box for box in app.number_input if box.label == "At most so many GFLOPs")
    shown = tile(app, "GFLOPs at 640 px")
    assert float(shown.value) <= budget.value == pytest.approx(budget.max / 2, abs=0.001)
    assert float(shown.value) > 0.95 * budget.value and not app.button(key="prune").disabled


@pytest.mark.slow
def test_once_timed_the_model_is_previewed_at_half_its_time(open_page, demo, timed):
    app = aim_at_latency(open_page, demo)
    whole = open_page("prune", demo.sparse.id)
    assert target(app).value == pytest.approx(tile_ms(whole) / 2, abs=0.1)
    assert f"The whole model takes {tile(whole, 'Latency').value} at 640 px" in captions(app)
    assert 0.9 * target(app).value < tile_ms(app) <= target(app).value + 0.05  # as shown, rounded
    assert tile(app, "Parameters").value != tile(whole, "Parameters").value
    assert app.button(key="measure latency").label == "Measure again"
    target(app).set_value(0.8 * tile_ms(whole)).run()
    assert 0.7 * tile_ms(whole) < tile_ms(app) <= 0.8 * tile_ms(whole) + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["floor", "locked layers", "own ratios"])
def test_whatever_the_limits_the_page_does_not_begin_with_a_refusal(open_page, demo, timed, limit):
    app = open_page("prune", demo.sparse.id)
    locked = next(box for box in app.multiselect if box.label == "Locked layers")
    own = next(box for box in app.text_input if box.label == "Layers with a ratio of their own")
    large = locked.options[3:]
    if limit == "floor":
        app.number_input(key="floor").set_value(64).run()
    elif limit == "locked layers":
        locked.set_value(large).run()
    else:
        own.set_value(", ".join(f"{name}=0.1" for name in large)).run()
    app.segmented_control(key="target").set_value("Latency").run()
    assert not app.exception and not app.error
    assert 0 < tile_ms(app) <= target(app).value + 0.05
    target(app).set_value(0.01).run()
    assert len(app.error) == 1, "the same limits refuse what is out of reach"


@pytest.mark.slow
def test_the_latency_shows_for_other_targets_as_well(open_page, demo, timed):
    app = open_page("prune", demo.sparse.id)
    whole = tile_ms(app)
    app.slider(key="ratio").set_value(0.7).run()
    assert 0 < tile_ms(app) < whole
    app.segmented_control(key="target").set_value("Parameters").run()
    assert 0 < tile_ms(app) < whole
    size = next(box for box in app.text_input if box.label == "Image size for costs")
    size.set_value("320").run()
    assert tile(app, "Latency") is None and not app.exception
    app.segmented_control(key="target").set_value("Latency").run()
    assert "has not timed this model at 320 px yet" in captions(app)


@pytest.mark.slow
def test_the_page_prunes_to_the_latency(open_page, demo, workspace, timed):
    app = aim_at_latency(open_page, demo)
    asked = target(app).value
    app.button(key="prune").click().run()
    assert not app.exception and not app.error
    made = next(model for model in Store(workspace).models() if model.kind == "pruned")
    assert made.made["spec"]["target_latency"] == open_checkpoint(made.path).made["budget"]["latency_ms"] == asked
    command = command_of("prune", {"weights": "sparse.pt", **made.made["spec"]})
    assert f"--target-latency {asked}" in command and "--threads 1" in command
    assert f"{made.params:,} exactly." == tile(app, "Parameters").help


@pytest.mark.slow
def test_a_target_out_of_reach_is_refused_with_the_smallest_that_is_not(open_page, demo, timed):
    app = aim_at_latency(open_page, demo)
    target(app).set_value(0.01).run()
    assert not app.exception and len(app.error) == 1
    words = app.error[0].value.split()
    least = float(words[words.index("takes") + 1])
    target(app).set_value(least).run()
    assert not app.error and tile_ms(app) <= least + 0.05


@pytest.mark.slow
def test_a_target_above_the_whole_model_s_time_leaves_nothing_to_prune(open_page, demo, timed):
    app = aim_at_latency(open_page, demo)
    target(app).set_value(1e4).run()
    assert not app.exception and not app.error
    assert "The whole model is within this budget, so there is nothing to prune." in captions(app)
    assert app.button(key="prune").disabled and tile(app, "Ratio achieved").value == "0.00"

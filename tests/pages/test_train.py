"""The Train page: presets, what sparse training aims at, and what is foretold before it starts."""

import pytest

from engine.workspace.store import Store


@pytest.fixture
def train(open_page, demo):
    """Return a function that opens the Train page with a kind of training chosen."""

    def open_at(kind: str = "sparsify", model=None):
        model = model or demo.dense
        app = open_page("train", model.id)
        app.button_group(key=f"kind {model.id}").set_value(kind).run()
        assert not app.exception and not app.error
        return app

    return open_at


@pytest.fixture
def pruned(demo, workspace, tmp_path):
    """A model pruned from the demo."""
    from engine.pruning.session import Slimming

    opened = Slimming.open(demo.sparse.path)
    path = opened.prune(0.5, tmp_path / "pruned.pt")
    store = Store(workspace)
    params = opened.preview(0.5).params
    return store.add_model(path, "Pruned", "pruned", parent_id=demo.sparse.id, params=params)


def value(app, name: str):
    return app.number_input(key=name).value


def metric(app, label: str) -> str:
    return next(metric.value for metric in app.metric if metric.label == label)


def only_job(app, workspace):
    app.button(key="start").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    return job


def warnings(app) -> str:
    return "\n".join(element.value for element in app.warning)


@pytest.mark.parametrize("kind", ["sparsify", "finetune"])
def test_a_preset_fills_the_fields_and_lets_go_when_one_is_changed(train, kind):
    app, key = train(kind), f"train {kind}"
    assert app.button_group(key=f"{key} preset").value == "Standard"
    app.button_group(key=f"{key} preset").set_value("Small GPU (2 GB)").run()
    assert (value(app, f"{key} batch"), value(app, f"{key} workers"), value(app, f"{key} epochs")) == (4, 0, 50)
    app.button_group(key=f"{key} preset").set_value("Quick look").run()
    assert (value(app, f"{key} epochs"), value(app, f"{key} batch")) == (5, 16)
    app.number_input(key=f"{key} epochs").set_value(7).run()
    assert app.button_group(key=f"{key} preset").value is None
    assert not app.exception


def test_settings_wait_while_another_page_is_looked_at(train):
    from pathlib import Path

    app = train()
    app.number_input(key="train sparsify epochs").set_value(33)
    app.selectbox(key="method").set_value("proximal").run()
    pages = Path(__file__).resolve().parents[2] / "pages"
    app.switch_page(str(pages / "gammas.py")).run()
    app.switch_page(str(pages / "train.py")).run()
    assert value(app, "train sparsify epochs") == 33
    assert app.selectbox(key="method").value == "proximal"


def test_a_budget_takes_the_place_of_the_ratio(train, demo, workspace, started_jobs):
    from engine.checkpoints.checkpoint import open_checkpoint

    app = train()
    app.button_group(key="sparsity target").set_value("Budget").run()
    checkpoint = open_checkpoint(demo.dense.path)
    assert value(app, f"sparsity params {checkpoint.digest}") == checkpoint.params // 2
    assert any(f"{checkpoint.params:,} now" in caption.value for caption in app.caption)
    app.number_input(key=f"sparsity params {checkpoint.digest}").set_value(1_000_000)
    app.number_input(key=f"sparsity gflops {checkpoint.digest}").set_value(6.0).run()
    job = only_job(app, workspace)
    told = {key: job.spec.get(key) for key in ("method", "max_params", "max_gflops", "budget_imgsz", "prune_ratio")}
    assert told == {
        "method": "targeted", "max_params": 1_000_000, "max_gflops": 6.0, "budget_imgsz": 640, "prune_ratio": None,
    }  # fmt: skip


def test_a_budget_that_nothing_meets_is_refused_before_the_start(train, demo):
    app = train()
    app.button_group(key="sparsity target").set_value("Budget").run()
    app.number_input(key=f"sparsity params {demo.dense.digest}").set_value(10).run()
    assert not app.exception
    assert len(app.error) == 1 and "smallest model" in app.error[0].value
    assert app.button(key="start").disabled
    app.number_input(key=f"sparsity params {demo.dense.digest}").set_value(None).run()
    assert not app.exception and not app.error
    assert app.button(key="start").disabled


def test_a_penalty_that_cannot_reach_zero_is_warned_of_and_one_press_mends_it(train, workspace, started_jobs):
    app = train()
    app.selectbox(key="method").set_value("proximal").run()
    assert "No channel is likely to reach zero" in warnings(app)
    before = float(metric(app, "Can fall by"))
    app.button(key="use strength").click().run()
    assert not app.exception and "No channel" not in warnings(app)
    assert float(metric(app, "Can fall by")) > max(before, float(metric(app, "Median gamma")))
    strength = value(app, "strength")
    app.number_input(key="strength").set_value(8 * strength).run()
    assert any("pulls every gamma down" in element.value for element in app.info)
    app.slider(key="sparsity warmup").set_value(0.2)
    app.selectbox(key="schedule").set_value("cosine").run()
    job = only_job(app, workspace)
    assert (job.spec["sr"], job.spec["sr_warmup"], job.spec["schedule"]) == (8 * strength, 0.2, "cosine")


def test_the_targeted_method_says_when_the_channels_are_zero(train):
    app = train()
    app.number_input(key="train sparsify epochs").set_value(20).run()
    assert metric(app, "Zero by epoch") == "12 of 20"
    app.number_input(key="train sparsify epochs").set_value(2).run()
    assert "optimizer step" in warnings(app) and "nominal batch" in warnings(app)


def test_advanced_settings_reach_the_job(train, workspace, started_jobs):
    app = train()
    for name, number in (("nbs", 32), ("workers", 1), ("seed", 7), ("patience", 9)):
        app.number_input(key=f"train sparsify {name}").set_value(number)
    spec = only_job(app, workspace).spec
    assert [spec[name] for name in ("nbs", "workers", "seed", "patience")] == [32, 1, 7, 9]


@pytest.mark.parametrize("distilled", [False, True])
def test_fine_tuning_is_measured_beside_its_dense_ancestor_which_may_teach(
    train, demo, pruned, workspace, started_jobs, distilled
):
    app = train("finetune", pruned)
    toggle = app.toggle(key=f"distil {pruned.id}")
    assert toggle.label == "Distill from Demo: sparse-trained"
    toggle.set_value(distilled).run()
    spec = only_job(app, workspace).spec
    assert spec["reference"] == str(demo.sparse.path)
    assert spec.get("teacher") == (str(demo.sparse.path) if distilled else None)


def test_a_model_without_a_dense_ancestor_has_nothing_to_distill_from(train, workspace, started_jobs):
    app = train("finetune")
    assert not [toggle for toggle in app.toggle if toggle.label.startswith("Distill")]
    assert "reference" not in only_job(app, workspace).spec


@pytest.mark.parametrize("kind", ["sparsify", "val"])
def test_an_image_size_of_333_is_said_to_become_352_where_it_is_entered(train, demo, workspace, started_jobs, kind):
    from engine.checkpoints.checkpoint import open_checkpoint

    app, key = train(kind), f"train {kind} imgsz {open_checkpoint(demo.dense.path).imgsz}"
    assert not [caption for caption in app.caption if "becomes" in caption.value]
    app.number_input(key=key).set_value(333).run()
    assert [caption for caption in app.caption if "Image size 333 becomes 352" in caption.value]
    assert only_job(app, workspace).spec["imgsz"] == 352

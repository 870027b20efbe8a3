"""Jobs in words, and what they work on."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.jobs.chains import is_moving, step_label
from app.jobs.live import stopped_text
from app.jobs.results import class_table, comparison_table, finetuning_table
from app.jobs.starting import (
    dense_ancestor,
    device_words,
    log_beyond,
    loss_series,
    ordinal,
    training_length,
    waiting_text,
    with_epoch,
)
from engine.jobs import ChainStatus, ChainStep, Progress
from engine.settings.results import MeasuredRole, parsed
from engine.workspace.store import Model
from tests.results import compared, written


def model(name: str, kind: str, params: int | None, metrics: dict | None = None) -> Model:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return Model(name, name, Path(f"{name}.pt"), name, None, {}, kind, params, metrics or {}, now)


def test_the_dense_ancestor_is_the_nearest_that_is_larger():
    dense, sparse = model("dense", "imported", 300), model("sparse", "sparse", None, {"params": 300})
    pruned, tuned = model("pruned", "pruned", 100), model("tuned", "finetuned", 100)
    assert dense_ancestor([dense, sparse, pruned, tuned]) == sparse
    assert dense_ancestor([dense, sparse]) is None
    assert dense_ancestor([model("bare", "pruned", 300), pruned]) is None
    assert dense_ancestor([dense]) is None


@pytest.mark.parametrize(
    ("place", "devices", "busy", "text"),
    [
        (None, ("cpu",), True, "Starting"),
        (1, ("cpu",), False, "Starting"),
        (1, ("cpu",), True, "Next in line for the CPU"),
        (2, ("cpu",), True, "2nd in line for the CPU"),
        (3, ("cuda:0", "cuda:1"), True, "3rd in line for GPU 0 and GPU 1"),
    ],
)
def test_the_place_in_the_queue_in_words(place, devices, busy, text):
    assert waiting_text(place, devices, busy=busy) == text


def test_ordinals_and_devices():
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th",
    ]  # fmt: skip
    assert device_words(()) == ""
    assert device_words(("cuda:0", "cuda:1", "cuda:2")) == "GPU 0, GPU 1 and GPU 2"


def test_the_reason_is_not_repeated_below_itself():
    assert log_beyond("No data.", "Opening\nNo data.\n") == "Opening"
    assert log_beyond("No data.", "No data.") == ""


def test_an_epoch_that_a_resumed_job_repeats_counts_once():
    epochs: list = []
    for number, loss in ((1, 3.0), (2, 2.0), (3, 1.5), (2, 1.9)):
        epochs = with_epoch(epochs, {"epoch": number, "loss": loss})
    assert epochs == [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 1.9}]


def test_the_distance_to_a_teacher_is_told_apart_from_the_other_losses():
    epochs = [{"epoch": 1, "losses": {"train/box_loss": 2.0, "train/dis_loss": 40.0, "val/dis_loss": 0.0}}]
    assert loss_series(epochs) == {"train/box_loss": [(1, 2.0)]}
    assert loss_series(epochs, teacher=True) == {"train/dis_loss": [(1, 40.0)]}


def test_the_length_of_a_training_comes_from_its_specification():
    spec = {"epochs": 5, "batch": 4, "nbs": 16, "lr0": 0.02, "optimizer": "Adam", "imgsz": 320}
    length = training_length(spec, images=30)
    assert (length.images, length.batches, length.nbs, length.optimizer) == (30, 8, 16, "Adam")


def test_where_a_job_was_stopped():
    assert stopped_text(Progress(epoch=2, epochs=30)) == "Stopped on request in epoch 2 of 30."
    assert stopped_text(Progress()) == "Stopped on request."
    assert stopped_text(Progress(epoch=1, epochs=1)) == "Stopped on request.", "a verb without epochs"


def test_steps_of_a_chain_name_only_states_that_an_icon_cannot():
    steps = [
        ChainStep("prune", "done", "a"),
        ChainStep("finetune", "failed", "b"),
        ChainStep("export", "waiting", None),
    ]
    labels = [step_label(number, step) for number, step in enumerate(steps, start=1)]
    assert labels == ["1. Pruning", "2. Fine-tuning · Failed", "3. Export"]
    assert not is_moving(ChainStatus("x", steps, finished=False, failed_step=2))
    assert is_moving(ChainStatus("x", steps, finished=False, failed_step=None))


def test_fine_tuning_is_shown_beside_what_it_came_from_the_dense_original_first():
    def row(role, score):
        metrics = {"mAP50": 1.0, "mAP50-95": score}
        return MeasuredRole(role=role, weights=f"/w/{role}.pt", params=100, metrics=metrics)

    rows = [row("parent", 0.2), row("child", 0.5), row("reference", 0.6)]
    table = finetuning_table(rows, {"/w/child.pt": "Mine"})
    assert list(table[""]) == ["Dense original", "Before fine-tuning", "After fine-tuning"]
    assert list(table["mAP50-95"]) == [0.6, 0.2, 0.5]
    assert list(table["Model"]) == ["reference.pt", "parent.pt", "Mine"]


def test_a_comparison_has_a_line_for_each_model_and_each_class():
    def measured(name, change):
        metrics = {"mAP50": 0.5, "mAP50-95": 0.4}
        return compared(weights=f"/w/{name}.pt", name=name, metrics=metrics, per_class={"ship": 0.4}, change=change)

    models = [measured("a", {"mAP50-95": 0.0}), measured("b", {"mAP50-95": -0.1}), measured("a", {})]
    result = parsed("compare", written("compare", models=models))
    table = comparison_table(result, {})
    assert list(table.columns[:3]) == ["Model", "mAP50-95", "Change"]
    assert list(table["Change"]) == ["±0.000", "−0.100", "–"]
    assert list(class_table(result, {}).columns) == ["Class", "a (1)", "b", "a (3)"]

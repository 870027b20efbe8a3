"""Fine-tuning with a teacher: the student keeps its size, the teacher is an ancestor, both are measured."""

import shutil
from pathlib import Path

import pytest

from engine.base.errors import CheckpointError, StopRequested, TrainingError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.pruning.session import Slimming
from engine.verbs import run_verb
from tests.runs import spec, write_dense
from tests.short import short


def dense_and_pruned(folder: Path, name: str = "detect") -> tuple[Path, Path]:
    dense = write_dense(folder / "dense.pt", model=short(name))
    return dense, Slimming.open(dense).prune(0.5, folder / "pruned.pt")


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> tuple[Path, Path]:
    return dense_and_pruned(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", ["detect", "detect 11"])
def test_a_distilled_student_keeps_its_size_and_is_an_ordinary_model(name, data, tmp_path):
    dense, pruned = dense_and_pruned(tmp_path, name)
    events: list = []
    wanted = spec(pruned, data, tmp_path / "run", teacher=str(dense), reference=str(dense))
    result = run_verb("finetune", wanted, events.append)
    before, after = open_checkpoint(pruned), open_checkpoint(result["best"])
    assert after.params == before.params == result["params"]
    shapes = [{name: tensor.shape for name, tensor in c.model.state_dict().items()} for c in (before, after)]
    assert shapes[0] == shapes[1]
    losses = [event["losses"] for event in events if event["kind"] == "epoch"]
    assert all(loss["train/dis_loss"] > 0 for loss in losses), "the teacher was listened to"
    assert after.ancestors == [open_checkpoint(dense).digest, before.digest]
    roles = {row["role"]: row for row in result["comparison"]}
    assert set(roles) == {"parent", "child", "reference"}
    assert roles["parent"]["params"] == roles["child"]["params"] < roles["reference"]["params"]
    assert all({"mAP50", "mAP50-95"} <= set(row["metrics"]) for row in result["comparison"])


def test_a_stopped_distillation_goes_on_with_teacher_and_projector(family, data, tmp_path):
    dense, pruned = family
    wanted = spec(pruned, data, tmp_path / "run", teacher=str(dense), epochs=20)

    def stop_after(number, events):
        def report(event):
            events.append(event)
            if event["kind"] == "epoch" and event["epoch"] == number:
                raise StopRequested

        return report

    run_verb("finetune", wanted, stop_after(1, []))
    events: list = []
    result = run_verb("finetune", wanted | {"resume": True}, stop_after(2, events))
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [2] and epochs[0]["losses"]["train/dis_loss"] > 0
    assert open_checkpoint(result["last"]).params == open_checkpoint(pruned).params


def test_a_teacher_that_the_model_was_not_made_from_is_refused(family, data, tmp_path):
    _, pruned = family
    stranger = write_dense(tmp_path / "stranger.pt", model="yolov8s.yaml")
    with pytest.raises(TrainingError, match="not what this model was made from"):
        run_verb("finetune", spec(pruned, data, tmp_path / "run", teacher=str(stranger)))
    assert not (tmp_path / "run").exists()


def test_a_model_cannot_teach_itself(family, data, tmp_path):
    _, pruned = family
    with pytest.raises(TrainingError, match="cannot teach itself"):
        run_verb("finetune", spec(pruned, data, tmp_path / "run", teacher=str(pruned)))


def test_a_reference_is_checked_before_training_and_its_loss_costs_only_its_row(family, data, tmp_path):
    dense, pruned = family
    with pytest.raises(CheckpointError, match="no file"):
        run_verb("finetune", spec(pruned, data, tmp_path / "run", reference=str(tmp_path / "gone.pt")))
    doomed = tmp_path / "doomed.pt"
    shutil.copyfile(dense, doomed)
    events: list = []

    def report(event):
        events.append(event)
        if event["kind"] == "epoch":
            doomed.unlink()

    result = run_verb("finetune", spec(pruned, data, tmp_path / "run", epochs=1, reference=str(doomed)), report)
    assert [row["role"] for row in result["comparison"]] == ["parent", "child"]
    assert any("reference is left out" in event.get("text", "") for event in events)


def test_a_fine_tuned_model_still_knows_its_dense_ancestor(family, data, tmp_path):
    dense, pruned = family
    once = run_verb("finetune", spec(pruned, data, tmp_path / "once", epochs=1))
    twice = run_verb("finetune", spec(Path(once["best"]), data, tmp_path / "twice", epochs=1, teacher=str(dense)))
    assert open_checkpoint(twice["best"]).ancestors[0] == open_checkpoint(dense).digest

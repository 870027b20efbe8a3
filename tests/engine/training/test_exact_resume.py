"""A run that was stopped or killed, anywhere and any number of times, ends with the very weights of one in one go."""

import json
import os
import pickle
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from ultralytics.data.dataset import YOLODataset
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.torch_utils import EarlyStopping

from engine.base.errors import StopRequested, TrainingError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.datasets import check_dataset, resolved_yaml
from engine.training import TRAINERS, TrainSettings, progress, run_training
from engine.training.randomness import random_states, set_loader_state, set_random_states
from engine.training.resuming import RUN_NAME, STATE_NAME, forget_unfinished_epochs, saved_run
from engine.training.state import STATE_FORMAT, read_state, write_state
from engine.training.trainers import KeepsModule, strip_checkpoints
from tests.exact import assert_same_run, assert_same_weights, interrupted, make_settings, make_whole, rows, stopping
from tests.tasks import SIZE, write_data, write_model


@pytest.fixture(autouse=True)
def _every_step_is_reported(monkeypatch):
    monkeypatch.setattr(progress, "STEP_INTERVAL_S", 0.0)


settings = pytest.fixture(scope="module")(make_settings)
whole = pytest.fixture(scope="module")(make_whole)


@pytest.mark.parametrize(
    ("kind", "moments"),
    [
        ("train", [("within", 1), ("within", 2), ("after", 3), ("within", 4), ("within", 5)]),
        ("finetune", [("after", 1), ("within", 3)]),
        ("distil", [("within", 3)]),
        ("targeted", [("after", 1), ("within", 4)]),
        ("proximal", [("within", 3)]),
        ("classic", [("after", 4)]),
    ],
)
def test_a_run_stopped_anywhere_ends_with_the_weights_of_one_in_one_go(kind, moments, settings, whole, tmp_path):
    parts, done = interrupted(settings(kind, tmp_path / "parts"), *moments)
    told = [number if where == "after" else number - 1 for where, number in moments]
    assert [part.epochs_done if part else 0 for part in parts] == told
    assert_same_run(whole(kind), done)


@pytest.mark.parametrize("task", ["classify", "semantic", "depth"])
def test_the_tasks_without_boxes_go_on_as_exactly(task, tmp_path):
    weights, images = write_model(task, tmp_path / "model.pt"), resolved(task, tmp_path)
    common = {"weights": str(weights), "data": images, "epochs": 3, "imgsz": SIZE, "batch": 4, "nbs": 4, "workers": 0}
    whole, parts = (TrainSettings(save_dir=tmp_path / name, **common) for name in ("whole", "parts"))
    first = run_training(whole, task, stopping())
    run_training(parts, task, stopping("within", 3))
    assert_same_run(first, run_training(replace(parts, resume=True), task, stopping()))


def resolved(task: str, folder: Path) -> Path:
    """Draw a data set and return its description with an absolute path, as the verbs do."""
    (folder / "described").mkdir()
    return resolved_yaml(check_dataset(write_data(task, folder / "set"), task), folder / "described")


def test_a_run_stopped_within_an_epoch_hands_back_the_epoch_before(settings, tmp_path):
    within, after = (settings("train", tmp_path / where) for where in ("within", "after"))
    first = run_training(within, "detect", stopping("within", 3))
    second = run_training(after, "detect", stopping("after", 2))
    assert first.stopped and first.epochs_done == second.epochs_done == 2
    assert rows(within.save_dir) == rows(after.save_dir) and len(rows(within.save_dir)) == 2
    assert (first.metrics, first.last_metrics) == (second.metrics, second.last_metrics)
    for name in ("last.pt", "best.pt"):
        assert_same_weights(*(wanted.save_dir / "weights" / name for wanted in (within, after)))


def test_a_stop_in_the_epoch_that_patience_ends_with_comes_too_late_for_the_resumed_run_as_well(
    settings, tmp_path, monkeypatch
):
    judge = EarlyStopping.__call__
    monkeypatch.setattr(EarlyStopping, "__call__", lambda self, epoch, fitness: judge(self, epoch, 1 / epoch))
    more = {"patience": 2}
    whole = run_training(settings("train", tmp_path / "whole", **more), "detect", stopping())
    last = whole.epochs_done
    assert last == 3, "it ended early"
    parts, done = interrupted(settings("train", tmp_path / "parts", **more), ("after", last - 1), ("after", last))
    assert [part.stopped for part in parts] == [True, False]
    assert done.epochs_done == last, "asked once more, nothing is trained"
    assert_same_weights(whole.last, done.last)


def test_an_epoch_that_diverged_is_recovered_from_as_in_a_run_in_one_go(settings, tmp_path, monkeypatch):
    trainer, diverged = TRAINERS["detect"], set()
    original = trainer.preprocess_batch

    def preprocess(self, batch):
        batch = original(self, batch)
        if self.epoch == 2 and self.batches_done == 1 and self.save_dir not in diverged:
            diverged.add(self.save_dir)
            batch["img"] = batch["img"] * float("nan")
        return batch

    monkeypatch.setattr(trainer, "preprocess_batch", preprocess)
    whole = run_training(settings("finetune", tmp_path / "whole"), "detect", stopping())
    _, done = interrupted(settings("finetune", tmp_path / "parts"), ("within", 2), ("after", 2), ("after", 3))
    assert len(diverged) == 2
    assert_same_run(whole, done)


class Noise:
    """An augmentation with random generators of its own, as those of Albumentations have them."""

    def __init__(self) -> None:
        self.random_generator, self.py_random = np.random.default_rng(0), random.Random(0)

    def __call__(self, labels):
        change = self.random_generator.integers(-40, 40) + self.py_random.randint(-40, 40)
        labels["img"] = np.clip(labels["img"].astype(int) + change, 0, 255).astype(np.uint8)
        return labels


def test_augmentations_with_generators_of_their_own_go_on_too(settings, tmp_path, monkeypatch):
    original = YOLODataset.build_transforms

    def build_transforms(self, hyp=None):
        transforms = original(self, hyp)
        if self.augment:
            transforms.insert(0, Noise())
        return transforms

    monkeypatch.setattr(YOLODataset, "build_transforms", build_transforms)
    whole = run_training(settings("train", tmp_path / "whole"), "detect", stopping())
    _, done = interrupted(settings("train", tmp_path / "parts"), ("after", 2), ("within", 5))
    assert_same_run(whole, done)


def test_what_is_not_as_it_was_is_told(settings, tmp_path):
    wanted = settings("train", tmp_path / "run", epochs=3)
    run_training(wanted, "detect", stopping("after", 1))
    events: list = []
    done = run_training(replace(wanted, resume=True, batch=8), "detect", events.append)
    assert done.epochs_done == 3
    assert any("batch 8, not 4" in event.get("text", "") for event in events)


def test_the_state_is_plain_values_and_tensors_and_anything_else_is_refused(settings, tmp_path):
    wanted = settings("classic", tmp_path / "run")
    run_training(wanted, "detect", stopping("after", 1))
    path = wanted.save_dir / "weights" / STATE_NAME
    assert torch.load(path, weights_only=True)["epochs_done"] == 1
    for content in (b"cut short", pickle.dumps(os.system)):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=r"state.pt cannot be read.*start it anew"):
            run_training(replace(wanted, resume=True), "detect", stopping())
    torch.save({"format": 99}, path)
    with pytest.raises(TrainingError, match="another version"):
        run_training(replace(wanted, resume=True), "detect", stopping())


def test_a_state_that_could_not_be_written_whole_leaves_the_one_before(tmp_path):
    path = tmp_path / STATE_NAME
    write_state(path, {"format": STATE_FORMAT, "epochs_done": 1, "model": torch.arange(1000)})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_state(path, {"format": STATE_FORMAT, "epochs_done": 2, "model": [torch.arange(1000), lambda: None]})
    assert read_state(path)["epochs_done"] == 1
    assert [each.name for each in tmp_path.iterdir()] == [STATE_NAME]


def test_random_states_hold_the_other_half_of_a_pair_of_normal_numbers():
    cpu = torch.device("cpu")
    random.gauss(0, 1), np.random.standard_normal()  # each makes two, and keeps one for the next call
    states = random_states(cpu)
    wanted = [(random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item()) for _ in range(3)]
    set_random_states(states, cpu)
    assert [(random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item()) for _ in range(3)] == wanted


def test_the_order_of_other_images_is_not_taken():
    loaders = [DataLoader(TensorDataset(torch.arange(count)), generator=torch.Generator()) for count in (8, 5)]
    loaders[0].generator.manual_seed(1)
    state = {"images": 8, "generator": loaders[0].generator.get_state(), "buffer": [7], "order": None, "augmenters": []}
    before = loaders[1].generator.get_state()
    set_loader_state(loaders[1], state, begins_anew=False)
    assert torch.equal(loaders[1].generator.get_state(), before)


class _Killed(BaseException):
    pass


def test_a_process_killed_while_it_writes_checkpoints_leaves_whole_ones(tmp_path, monkeypatch):
    last, best = (tmp_path / name for name in ("last.pt", "best.pt"))
    last.write_bytes(b"whole"), best.write_bytes(b"whole")

    def die(trainer):
        trainer.last.write_bytes(b"ha"), trainer.best.write_bytes(b"ha")
        raise _Killed

    monkeypatch.setattr("ultralytics.engine.trainer.BaseTrainer.save_model", die)

    class Trainer(KeepsModule):
        def __init__(self):
            self.last, self.best = last, best

    with pytest.raises(_Killed):
        Trainer().save_model()

    def strip(path, s="", updates=None):
        Path(s or path).write_bytes(b"ha")
        raise _Killed

    monkeypatch.setattr("engine.training.trainers.strip_optimizer", strip)
    with pytest.raises(_Killed):
        strip_checkpoints(last, best)
    assert (last.read_bytes(), best.read_bytes()) == (b"whole", b"whole")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ("epoch,time\n1,2.0\n2,4.0\n2,5.0\n3,7.0\n", ["epoch,time", "1,2.0", "2,5.0"]),
        ("epoch,time\n1,2.0\ne", 2),
        ("", 0),
    ],
)
def test_results_that_a_killed_run_wrote_by_half_are_no_obstacle(found, left, tmp_path):
    results = tmp_path / "results.csv"
    results.write_text(found)
    forget_unfinished_epochs(tmp_path, epochs_done=2)
    lines = results.read_text().splitlines()
    assert lines == left if isinstance(left, list) else len(lines) == left


def test_a_run_of_version_0_2_goes_on_less_exactly_and_says_so(settings, tmp_path):
    wanted = settings("targeted", tmp_path / "run")
    weights = wanted.save_dir / "weights"

    def report(event):
        if event["kind"] == "epoch" and event["epoch"] == 2:
            shutil.copyfile(weights / "last.pt", weights / "resume.pt")
            raise StopRequested

    run_training(wanted, "detect", report)
    chosen = torch.load(weights / STATE_NAME, weights_only=True)["sparsifier"]
    torch.save(chosen, weights / "sparsity.pt")
    (weights / STATE_NAME).unlink()
    noted = json.loads((wanted.save_dir / RUN_NAME).read_text())
    (wanted.save_dir / RUN_NAME).write_text(json.dumps({key: noted[key] for key in ("settings", "weights_digest")}))
    results = wanted.save_dir / "results.csv"
    results.write_text(results.read_text() + results.read_text().splitlines()[-1].replace("2,", "3,", 1) + "\n")
    events: list = []

    def again(event):
        events.append(event)
        if event.get("text", "").startswith("Training"):
            last = load_checkpoint(weights / "last.pt")[1]
            assert last["optimizer"], "Ultralytics goes back to it where losses are not numbers"
        stopping("within", 3)(event)

    stopped = run_training(replace(wanted, resume=True), "detect", again)
    assert stopped.epochs_done == 2 and stopped.last_metrics
    assert any("after epoch 2 of 5, less exactly" in event.get("text", "") for event in events)
    assert saved_run(wanted.save_dir).exact, "from here on it goes on as the run that it is"
    done = run_training(replace(wanted, resume=True), "detect", events.append)
    assert [event["epoch"] for event in events if event["kind"] == "epoch"] == [3, 4, 5]
    assert [row["epoch"] for row in rows(wanted.save_dir)] == ["1", "2", "3", "4", "5"]
    model = open_checkpoint(done.last).model
    gammas = torch.cat([m.weight for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert (gammas == 0).sum() >= chosen["targets"].sum() > 0
    assert {path.name for path in weights.iterdir()} == {"best.pt", "last.pt"}

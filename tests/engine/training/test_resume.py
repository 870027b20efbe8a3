"""Runs that were stopped or killed go on: same schedule, same chosen channels, the pruned architecture."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.base.errors import StopRequested, TrainingError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.profile.gammas import summarise_gammas
from engine.pruning.gammas import collect_gammas
from engine.pruning.session import Slimming
from engine.pruning.solver import Budget
from engine.training import TrainSettings, progress, resumed_settings
from engine.training.resuming import OLD_SPARSITY_NAME, RUN_NAME, STATE_NAME, note_start, saved_run
from engine.training.sparsity import SparsitySettings
from engine.training.state import read_plain
from engine.verbs import run_verb
from tests.runs import spec, write_dense

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _every_step_is_reported(monkeypatch):
    monkeypatch.setattr(progress, "STEP_INTERVAL_S", 0.0)


def stop_within(epoch: int, events: list):
    """Return a report that asks to stop at the first batch of an epoch."""

    def report(event):
        events.append(event)
        if event["kind"] == "step" and (event["epoch"], event["step"]) == (epoch, 1):
            raise StopRequested

    return report


def stop_after(epoch: int, events: list):
    """Return a report that asks to stop once an epoch is done."""

    def report(event):
        events.append(event)
        if event["kind"] == "epoch" and event["epoch"] == epoch:
            raise StopRequested

    return report


def epochs_of(events: list) -> list[int]:
    return [event["epoch"] for event in events if event["kind"] == "epoch"]


def zero_share(path: str) -> float:
    return summarise_gammas(collect_gammas(open_checkpoint(path).model)).zero


def test_a_stopped_sparse_run_goes_on_with_the_channels_it_had_chosen(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=6, prune_ratio=0.4)
    stopped = run_verb("sparsify", wanted, stop_after(3, []))
    assert stopped["stopped"] and stopped["epochs_done"] == 3
    assert stopped["artefacts"][0]["suffix"] == "stopped after epoch 3"
    state = torch.load(tmp_path / "run" / "weights" / STATE_NAME, weights_only=True)["sparsifier"]
    assert state["targets"].any() and 0 < float(state["faded"]) < 1
    events: list = []
    done = run_verb("sparsify", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [4, 5, 6] and not done["stopped"]
    assert any("after epoch 3 of 6" in event.get("text", "") for event in events)
    assert zero_share(done["last"]) == pytest.approx(0.4, abs=0.01)
    slimming = Slimming.open(done["last"])
    model = slimming.checkpoint.model
    gammas = torch.cat([model.get_submodule(layer.name).weight for layer in slimming.graph.layers])
    assert torch.equal(gammas == 0, state["targets"]), "exactly what had been chosen before the stop is zero"
    left = {path.name for path in (tmp_path / "run" / "weights").iterdir()}
    assert left == {"best.pt", "last.pt"}, "a run that is done leaves nothing to resume"


def test_an_epoch_that_a_stop_cut_short_is_done_again(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=3)
    stopped = run_verb("train", wanted, stop_within(3, []))
    assert stopped["stopped"] and stopped["epochs_done"] == 2
    assert stopped["artefacts"][0]["suffix"] == "stopped after epoch 2"
    assert open_checkpoint(stopped["last"]).params == stopped["params"]
    assert saved_run(tmp_path / "run").epochs_done == 2
    events: list = []
    done = run_verb("train", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [3] and done["epochs_done"] == 3 and not done["stopped"]


def test_a_stop_after_the_last_epoch_comes_too_late(dense, data, tmp_path):
    done = run_verb("train", spec(dense, data, tmp_path / "run", epochs=1), stop_after(1, []))
    assert not done["stopped"] and done["epochs_done"] == 1 and "mAP50" in done["metrics"]


def test_a_run_whose_folder_was_moved_goes_on_where_it_lies_now(dense, data, tmp_path):
    run_verb("train", spec(dense, data, tmp_path / "before", epochs=2), stop_after(1, []))
    (tmp_path / "before").rename(tmp_path / "after")
    done = run_verb("train", spec(dense, data, tmp_path / "after", epochs=2, resume=True))
    assert done["epochs_done"] == 2 and Path(done["last"]).parents[1] == tmp_path / "after"
    assert not (tmp_path / "before").exists()


def test_the_rate_and_the_progress_of_a_resumed_run_are_those_of_a_run_in_one_go(dense, data, tmp_path, monkeypatch):
    seen: list[float] = []
    strength_at = SparsitySettings.strength_at
    with monkeypatch.context() as patched:
        patched.setattr(SparsitySettings, "strength_at", lambda own, at: seen.append(at) or strength_at(own, at))
        whole: list = []
        run_verb("sparsify", spec(dense, data, tmp_path / "whole", epochs=3, sr=0.5, schedule="linear"), whole.append)
    assert seen == pytest.approx([step / 6 for step in range(1, 7)]), "the last of two batches an epoch is the end"
    parts: list = []
    wanted = spec(dense, data, tmp_path / "parts", epochs=3, sr=0.5, schedule="linear")
    run_verb("sparsify", wanted, stop_after(1, parts))
    run_verb("sparsify", wanted | {"resume": True}, parts.append)
    rates = [[event["lr"] for event in events if event["kind"] == "epoch"] for events in (whole, parts)]
    assert rates[0][1:] == pytest.approx(rates[1][1:])
    medians = [
        [event["gammas"]["median"] for event in events if event["kind"] == "epoch"][-1] for events in (whole, parts)
    ]
    assert medians[0] == pytest.approx(medians[1], rel=0.05)


def test_the_time_that_a_run_takes_counts_over_all_its_parts(dense, data, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "STEP_INTERVAL_S", float("inf"))
    wanted, events = spec(dense, data, tmp_path / "run", epochs=2), []
    run_verb("train", wanted, stop_after(1, events))
    path = tmp_path / "run" / "weights" / STATE_NAME
    state = torch.load(path, weights_only=True)
    torch.save(state | {"seconds": state["seconds"] + 1000}, path)
    run_verb("train", wanted | {"resume": True}, events.append)
    with open(tmp_path / "run" / "results.csv", encoding="utf-8") as stream:
        times = [float(row["time"]) for row in csv.DictReader(stream)]
    assert times[0] < 1000 < times[1]
    steps = [(event["epoch"], event["step"], event["steps"]) for event in events if event["kind"] == "step"]
    assert steps == [(1, 2, 2), (2, 2, 2)], (
        "the last step of an epoch is told however short the time since the one before"
    )


def test_a_killed_fine_tuning_goes_on_with_the_pruned_architecture(dense, data, tmp_path):
    pruned = Slimming.open(dense).prune(0.5, tmp_path / "pruned.pt")
    state = tmp_path / "run" / "weights" / STATE_NAME
    options = [
        "--epochs",
        "40",
        "--imgsz",
        "64",
        "--batch",
        "4",
        "--nbs",
        "4",
        "--device",
        "cpu",
        "--save-dir",
        tmp_path / "run",
    ]
    command = [sys.executable, "-m", "engine", "finetune", "--weights", pruned, "--data", data, *options]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    saved = saved_run(tmp_path / "run")
    assert saved.path and 1 <= saved.epochs_done < 40
    events: list = []
    wanted = spec(pruned, data, tmp_path / "run", epochs=40, resume=True)
    done = run_verb("finetune", wanted, stop_within(saved.epochs_done + 2, events))
    assert epochs_of(events)[0] == saved.epochs_done + 1
    shapes = [{n: t.shape for n, t in open_checkpoint(p).model.state_dict().items()} for p in (pruned, done["last"])]
    assert shapes[0] == shapes[1]


def test_a_run_killed_after_its_last_epoch_is_only_measured(dense, data, tmp_path, monkeypatch):
    wanted = spec(dense, data, tmp_path / "run", epochs=1)

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("engine.training.trainers.strip_optimizer", killed)
        with pytest.raises(KeyboardInterrupt):
            run_verb("train", wanted)
    assert not (tmp_path / "run" / "weights" / STATE_NAME).exists(), "there is nothing left to train"
    before = open_checkpoint(tmp_path / "run" / "weights" / "last.pt").model.state_dict()
    events: list = []
    done = run_verb("train", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [] and done["epochs_done"] == 1 and "mAP50" in done["metrics"]
    after = open_checkpoint(done["last"])
    assert after.content["epoch"] == -1, "stripped"
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.model.state_dict().items())
    again = run_verb("train", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [] and again["metrics"] == done["metrics"], "asked once more, nothing is trained"


def test_a_run_stopped_in_its_first_epoch_has_no_model_and_starts_again(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=1)
    with pytest.raises(StopRequested, match="before the first epoch was done: there is no model"):
        run_verb("train", wanted, stop_within(1, []))
    assert not list((tmp_path / "run" / "weights").iterdir()) and not (tmp_path / "run" / "results.csv").exists()
    events: list = []
    done = run_verb("train", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [1] and not done["stopped"]
    assert any("No finished epoch" in event.get("text", "") for event in events)


def test_going_on_keeps_the_settings_and_refuses_others(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=4, prune_ratio=0.3, lr0=0.004)
    run_verb("sparsify", wanted, stop_after(1, []))
    noted = json.loads((tmp_path / "run" / RUN_NAME).read_text())
    for change, words in (
        ({"epochs": 3}, "another epochs"),
        ({"prune_ratio": 0.7}, "another sparsity"),
        ({"lr0": 0.1}, "another lr0"),
        ({"weights": str(write_dense(tmp_path / "copy.pt", seed=1))}, "another model"),
    ):
        with pytest.raises(TrainingError, match=words):
            run_verb("sparsify", wanted | change | {"resume": True})
    with pytest.raises(TrainingError, match="sparse training"):
        run_verb("finetune", {key: value for key, value in wanted.items() if key != "prune_ratio"} | {"resume": True})
    with pytest.raises(TrainingError, match="has not ended"):
        run_verb("sparsify", wanted)
    assert json.loads((tmp_path / "run" / RUN_NAME).read_text()) == noted, "nothing was lost by asking"
    short = {"weights": str(dense), "data": data, "save_dir": str(tmp_path / "run"), "device": "cpu", "resume": True}
    events: list = []
    done = run_verb("sparsify", short, stop_after(2, events))
    assert epochs_of(events) == [2] and done["lr0"] == 0.004 and done["sparsity"]["ratio"] == 0.3
    assert done["batch"] == 4, "what nobody names stays what it was, also where it might differ"


def test_a_budget_at_height_and_width_is_the_same_when_the_run_goes_on(dense, data, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    sparsity = SparsitySettings(budget=Budget(gflops=2.0), budget_imgsz=(384, 640))
    started = TrainSettings(str(dense), Path(data), folder, 2, 64, sparsity=sparsity)
    note_start(started, "digest")
    assert resumed_settings(started, {"sparsity"}, "digest") == started


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": {"model": "other.pt"}}, "model cannot be given"),
        ({"extra": {"augmentations": [{"__class_fullname__": "x"}]}}, "not a valid"),
        ({"speed": 3}, r"run\.json cannot be read.*another folder"),
        (None, r"run\.json cannot be read.*another folder"),
    ],
)
def test_what_stands_in_the_record_of_a_run_is_checked_like_what_is_typed(dense, data, tmp_path, change, words):
    folder = tmp_path / "run"
    folder.mkdir()
    started = TrainSettings(str(dense), Path(data), folder, 2, 64)
    note_start(started, "digest")
    noted = json.loads((folder / RUN_NAME).read_text())
    changed = json.dumps({**noted, "settings": {**noted["settings"], **change}}) if change else "[]"
    (folder / RUN_NAME).write_text(changed)
    with pytest.raises(TrainingError, match=words) as refusal:
        resumed_settings(started, set(), "digest")
    assert "\n" not in str(refusal.value) and (folder / RUN_NAME).read_text() == changed


def test_going_on_in_a_folder_that_is_not_there_is_refused(dense, data, tmp_path):
    with pytest.raises(TrainingError, match="no run in"):
        run_verb("train", spec(dense, data, tmp_path / "typo", resume=True))
    assert not (tmp_path / "typo").exists()


def test_a_damaged_state_is_refused_in_a_sentence(dense, data, tmp_path):
    weights = tmp_path / "run" / "weights"
    weights.mkdir(parents=True)
    (weights / "last.pt").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match="cannot go on; start it anew in another folder"):
        run_verb("train", spec(dense, data, tmp_path / "run", resume=True))
    (weights / OLD_SPARSITY_NAME).write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"sparsity\.pt cannot be read"):
        read_plain(weights / OLD_SPARSITY_NAME)

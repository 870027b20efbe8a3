"""Runs that were stopped or killed go on: same schedule, same chosen channels, the pruned architecture."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.errors import StopRequested, TrainingError
from engine.gammas import collect_gammas, summarise_gammas
from engine.slimming import Slimming
from engine.training.progress import STATE_NAME
from engine.training.running import resumable
from engine.training.trainers import RESUME_NAME
from engine.verbs import run_verb
from tests.runs import spec, tiny_data, write_dense

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    return write_dense("yolov8n.yaml", tmp_path_factory.mktemp("model") / "dense.pt")


def stop_in_epoch(number: int, events: list):
    def report(event):
        events.append(event)
        if event["kind"] == "step" and event["epoch"] == number:
            raise StopRequested

    return report


def epochs_of(events: list) -> list[int]:
    return [event["epoch"] for event in events if event["kind"] == "epoch"]


def zero_share(path: str) -> float:
    return summarise_gammas(collect_gammas(open_checkpoint(path).model)).zero


def test_a_stopped_sparse_run_goes_on_with_the_channels_it_had_chosen(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=6, prune_ratio=0.4)
    first: list = []
    stopped = run_verb("sparsify", wanted, stop_in_epoch(3, first))
    assert stopped["stopped"] and stopped["epochs_done"] == 3
    state = torch.load(tmp_path / "run" / "weights" / STATE_NAME, weights_only=True)
    assert state["targets"].any() and 0 < float(state["faded"]) < 1
    second: list = []
    done = run_verb("sparsify", wanted | {"resume": True}, second.append)
    assert epochs_of(second) == [4, 5, 6] and not done["stopped"]
    assert any("after epoch 3 of 6" in event.get("text", "") for event in second)
    assert zero_share(done["last"]) == pytest.approx(0.4, abs=0.01)
    slimming = Slimming.open(done["last"])
    model = slimming.checkpoint.model
    gammas = torch.cat([model.get_submodule(layer.name).weight for layer in slimming.graph.layers])
    assert torch.equal(gammas == 0, state["targets"]), "exactly what had been chosen before the stop is zero"
    left = {path.name for path in (tmp_path / "run" / "weights").iterdir()}
    assert left == {"best.pt", "last.pt"}, "a run that is done leaves nothing to resume"
    assert resumable(tmp_path / "run") is None


def test_the_rate_and_the_progress_of_a_resumed_run_are_those_of_a_run_in_one_go(dense, data, tmp_path):
    whole: list = []
    run_verb("sparsify", spec(dense, data, tmp_path / "whole", epochs=3, sr=0.5, schedule="linear"), whole.append)
    parts: list = []
    wanted = spec(dense, data, tmp_path / "parts", epochs=3, sr=0.5, schedule="linear")
    run_verb("sparsify", wanted, stop_in_epoch(1, parts))
    run_verb("sparsify", wanted | {"resume": True}, parts.append)
    rates = [[event["lr"] for event in events if event["kind"] == "epoch"] for events in (whole, parts)]
    assert rates[0][1:] == pytest.approx(rates[1][1:])
    medians = [
        [event["gammas"]["median"] for event in events if event["kind"] == "epoch"][-1] for events in (whole, parts)
    ]
    assert medians[0] == pytest.approx(medians[1], rel=0.05)


def test_a_killed_fine_tuning_goes_on_with_the_pruned_architecture(dense, data, tmp_path):
    pruned = Slimming.open(dense).prune(0.5, tmp_path / "pruned.pt")
    last = tmp_path / "run" / "weights" / "last.pt"
    options = ["--epochs", "40", "--imgsz", "64", "--batch", "4", "--device", "cpu", "--save-dir", tmp_path / "run"]
    command = [sys.executable, "-m", "engine", "finetune", "--weights", pruned, "--data", data, *options]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    saved = resumable(tmp_path / "run")
    assert saved and 1 <= saved.epochs_done < 40
    events: list = []
    wanted = spec(pruned, data, tmp_path / "run", epochs=40, resume=True)
    done = run_verb("finetune", wanted, stop_in_epoch(saved.epochs_done + 2, events))
    assert epochs_of(events)[0] == saved.epochs_done + 1
    shapes = [{n: t.shape for n, t in open_checkpoint(p).model.state_dict().items()} for p in (pruned, done["last"])]
    assert shapes[0] == shapes[1]


def test_a_run_killed_after_its_last_epoch_is_only_finished(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", epochs=2)
    run_verb("train", wanted, stop_in_epoch(2, []))
    weights = tmp_path / "run" / "weights"
    os.replace(weights / RESUME_NAME, weights / "last.pt")  # as it was before Ultralytics stripped it
    events: list = []
    done = run_verb("train", wanted | {"resume": True}, events.append)
    assert epochs_of(events) == [] and done["epochs_done"] == 2 and "mAP50" in done["metrics"]
    assert open_checkpoint(done["last"]).content["epoch"] == -1


def test_resuming_without_a_finished_epoch_starts_at_the_first(dense, data, tmp_path):
    events: list = []
    run_verb("train", spec(dense, data, tmp_path / "run", epochs=1, resume=True), events.append)
    assert epochs_of(events) == [1]
    assert any("No finished epoch" in event.get("text", "") for event in events)


def test_a_damaged_state_is_refused_in_a_sentence(dense, data, tmp_path):
    weights = tmp_path / "run" / "weights"
    weights.mkdir(parents=True)
    (weights / "last.pt").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match="cannot go on; start it anew"):
        run_verb("train", spec(dense, data, tmp_path / "run", resume=True))

"""Runs in processes of their own, alone or side by side, that were killed end with the weights of one in one go."""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine.base.errors import StopRequested, TrainingError
from engine.training import TrainSettings, progress, run_training
from engine.training.resuming import saved_run
from tests.exact import assert_same_run, make_settings, make_whole, stopping

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _every_step_is_reported(monkeypatch):
    monkeypatch.setattr(progress, "STEP_INTERVAL_S", 0.0)


settings = pytest.fixture(scope="module")(make_settings)
whole = pytest.fixture(scope="module")(make_whole)


_RUN = """
import json, sys
import engine
from engine.base.runtime import import_ultralytics
import_ultralytics()
from engine.training import TrainSettings, progress, run_training
progress.STEP_INTERVAL_S = 0.0
told = open(sys.argv[2], "w", buffering=1)
settings = TrainSettings.from_dict(json.loads(sys.argv[1]))
run_training(settings, "detect", lambda event: told.write(json.dumps(event) + chr(10)))
"""


def kill_within(settings: TrainSettings, epoch: int) -> None:
    """Train in processes of their own, and kill them all at once when the first step of an epoch is told."""
    told = settings.save_dir.with_suffix(".events")
    told.unlink(missing_ok=True)
    command = [sys.executable, "-c", _RUN, json.dumps(settings.as_dict()), str(told)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        words = f'"kind": "step", "epoch": {epoch},'
        while not (told.exists() and words in told.read_text()):
            assert process.poll() is None, f"it ended before epoch {epoch}"
            time.sleep(0.01)
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=30)


def test_a_run_killed_in_several_epochs_ends_with_the_weights_of_one_in_one_go(settings, whole, tmp_path):
    wanted = settings("finetune", tmp_path / "parts")
    kill_within(wanted, 1)
    kill_within(replace(wanted, resume=True), 3)
    assert saved_run(wanted.save_dir).epochs_done == 2
    done = run_training(replace(wanted, resume=True), "detect", stopping())
    assert_same_run(whole("finetune"), done)


@pytest.mark.slow
def test_two_processes_killed_and_stopped_end_with_the_weights_of_two_in_one_go(settings, tmp_path):
    wanted = settings("targeted", tmp_path / "parts", processes=2, nbs=12, epochs=4)

    def kill(event):
        if event["kind"] == "step" and event["epoch"] == 3:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "engine.training.rank" in process.cmdline():
                        process.kill()

    with pytest.raises(TrainingError, match="ended unexpectedly"):
        run_training(wanted, "detect", kill)
    before = saved_run(wanted.save_dir).epochs_done
    assert before in (2, 3), "3 where the step was the last of its epoch"

    def at_once(event):
        if event.get("text", "").startswith("Training"):
            raise StopRequested

    cut_short = run_training(replace(wanted, resume=True), "detect", at_once)
    assert cut_short.stopped and cut_short.epochs_done == before
    done = run_training(replace(wanted, resume=True), "detect", stopping())
    assert_same_run(run_training(replace(wanted, save_dir=tmp_path / "whole"), "detect", stopping()), done)

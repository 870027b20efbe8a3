"""A batch of -1 is chosen as Ultralytics chooses it, said, and written down as the number that it became."""

import json

import pytest
import torch

from engine.base.errors import TrainingError
from engine.settings.parser import read_terminal
from engine.training import TrainSettings, batch, resumed_settings, with_batch
from engine.training.resuming import note_start
from engine.verbs import run_verb
from tests.runs import spec


def texts(events) -> list[str]:
    return [event["text"] for event in events if event["kind"] == "status"]


def test_a_batch_of_minus_one_on_the_cpu_is_ultralytics_default_said_recorded_and_kept_on_resume(dense, data, tmp_path):
    events = []
    asked = spec(dense, data, tmp_path / "run", epochs=1, batch=-1)
    assert run_verb("train", asked, events.append)["batch"] == 16
    assert any("AutoBatch chose 16 images a batch" in text and "default" in text for text in texts(events))
    noted = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert noted["batch"] == 16
    again = []
    assert run_verb("train", {**asked, "resume": True}, again.append)["batch"] == 16
    assert not any("AutoBatch" in text for text in texts(again)), "it was chosen before"


def test_a_run_that_goes_on_keeps_the_batch_that_it_was_started_with_unless_another_is_named(dense, tmp_path):
    started = TrainSettings(str(dense), tmp_path, tmp_path / "run", 1, 64, batch=6)
    (tmp_path / "run").mkdir()
    note_start(started, "digest")
    wanted = TrainSettings(str(dense), tmp_path, tmp_path / "run", 1, 64, resume=True)
    assert resumed_settings(wanted, set(), "digest").batch == 6
    assert resumed_settings(wanted, {"batch"}, "digest").batch == 16
    automatic = TrainSettings(str(dense), tmp_path, tmp_path / "run", 1, 64, batch=-1, resume=True)
    assert resumed_settings(automatic, {"batch"}, "digest").batch == 6


def test_processes_on_the_cpu_share_the_default_and_every_gpu_gets_what_fits_into_the_first(
    dense, data, tmp_path, monkeypatch
):
    from engine.datasets import check_dataset, resolved_yaml

    told = []
    description = resolved_yaml(check_dataset(data), tmp_path)
    three = TrainSettings(str(dense), description, tmp_path / "run", 1, 64, batch=-1, processes=3)
    assert with_batch(three, "detect", told.append).batch == 15
    assert "5 for each of 3 processes" in told[-1]["text"]
    assert not (tmp_path / "run").exists(), "looking for the batch writes nothing there"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(batch, "_found", lambda settings, task: 24)
    two = TrainSettings(str(dense), description, tmp_path / "run", 1, 64, batch=0.5, device="0,1")
    assert with_batch(two, "detect", told.append).batch == 48
    assert "48 images a batch, 24 for each of 2 processes (by the memory of the GPU)" in told[-1]["text"]


def test_one_image_a_batch_is_a_number_and_no_share_of_the_memory(dense, tmp_path):
    batches = (-1, 0.5, 1, 2)
    automatic = [TrainSettings(str(dense), tmp_path, tmp_path, 1, 64, batch=each).automatic_batch for each in batches]
    assert automatic == [True, True, False, False]


@pytest.mark.parametrize("wrong", [0, -2, 2.5])
def test_a_batch_that_is_no_number_of_images_is_refused(dense, tmp_path, wrong):
    with pytest.raises(TrainingError, match="batch"):
        TrainSettings(str(dense), tmp_path, tmp_path, 1, 64, batch=wrong)


def test_the_terminal_takes_it_as_ultralytics_does(capsys):
    needed = ["train", "--weights", "a.pt", "--data", "d.yaml"]
    assert read_terminal([*needed, "--batch", "-1"])["batch"] == -1
    assert read_terminal([*needed, "--batch", "0.7"])["batch"] == 0.7
    assert read_terminal([*needed, "--batch", "8"])["batch"] == 8
    for wrong in ("many", "nan"):
        with pytest.raises(SystemExit):
            read_terminal([*needed, "--batch", wrong])
        assert "is not a whole number of images, -1, or a share" in capsys.readouterr().err

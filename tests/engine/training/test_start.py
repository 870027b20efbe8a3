"""A run measures the model that it starts from, and never hands back a worse one as the best."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import load_checkpoint

from engine.base.errors import StopRequested, TrainingError
from engine.datasets import check_dataset, resolved_yaml
from engine.demo.dataset import make_demo_dataset
from engine.demo.shipped import DENSE
from engine.training import TRAINERS, TrainSettings, run_training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dense() -> Path:
    return DENSE


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(make_demo_dataset(tmp_path_factory.mktemp("data"), train=4, val=4, imgsz=160))


def settings_of(weights, data, folder: Path, **more) -> TrainSettings:
    folder.mkdir(exist_ok=True)
    known = {"epochs": 2, "imgsz": 160, "batch": 4, "nbs": 4, "workers": 0, "lr0": 0.001, "extra": {"mosaic": 0.0}}
    return TrainSettings(str(weights), Path(resolved_yaml(check_dataset(data), folder)), folder, **{**known, **more})


def tensors(path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def test_a_run_that_never_beat_its_start_hands_back_the_start(dense, data, tmp_path):
    told = []
    result = run_training(settings_of(dense, data, tmp_path / "run", lr0=1.0), "detect", told.append)
    begun = next(event["metrics"] for event in told if event["kind"] == "start")
    epochs = [event["metrics"]["mAP50-95"] for event in told if event["kind"] == "epoch"]
    assert max(epochs) < begun["mAP50-95"], "a rate of 1 ruins any model"
    assert result.kept_start is True and result.start == begun and result.epochs_done == 2
    own, best = tensors(dense), tensors(result.best)
    assert own.keys() == best.keys() and all(torch.equal(own[name], best[name]) for name in own)
    assert any(not torch.equal(own[name], value) for name, value in tensors(result.last).items())
    assert result.metrics["mAP50-95"] == pytest.approx(begun["mAP50-95"], abs=0.02), "batches are padded otherwise"


def test_the_start_is_no_epoch_and_no_result(dense, data, tmp_path):
    def fail(event):
        if event["kind"] == "step":
            raise OSError("The disk is full.")

    periodic = settings_of(dense, data, tmp_path / "run", extra={"mosaic": 0.0, "save_period": 1}, epochs=1)
    run_training(periodic, "detect", lambda event: None)
    weights = sorted(path.name for path in (tmp_path / "run" / "weights").glob("*.pt"))
    assert weights == ["best.pt", "epoch0.pt", "last.pt"]
    with pytest.raises(OSError, match="The disk is full"):
        run_training(settings_of(dense, data, tmp_path / "failed"), "detect", fail)
    assert not list((tmp_path / "failed").rglob("*.pt")), "what fails in its first epoch has made no model"


def test_a_run_that_goes_on_knows_its_start(dense, data, tmp_path):
    settings = settings_of(dense, data, tmp_path / "run", lr0=1.0, epochs=3)

    def stop(event):
        if event["kind"] == "epoch":
            raise StopRequested

    assert run_training(settings, "detect", stop).kept_start is True
    told = []
    result = run_training(replace(settings, resume=True), "detect", told.append)
    assert not [event for event in told if event["kind"] == "start"], "it was measured when the run began"
    assert result.kept_start is True and result.start["mAP50-95"] > 0 and result.epochs_done == 3
    own, best = tensors(dense), tensors(result.best)
    assert all(torch.equal(own[name], best[name]) for name in own)


def test_a_run_that_only_had_to_be_finished_still_knows_its_start(dense, data, tmp_path, monkeypatch):
    settings = settings_of(dense, data, tmp_path / "run", lr0=1.0, epochs=1)

    def killed(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TRAINERS["detect"], "final_eval", killed)
        with pytest.raises(KeyboardInterrupt):
            run_training(settings, "detect", lambda event: None)
    result = run_training(replace(settings, resume=True), "detect", lambda event: None)
    assert result.kept_start is True and result.start["mAP50-95"] > 0 and result.epochs_done == 1


@pytest.mark.parametrize("momentum", [None, 0.3])
def test_statistics_follow_by_the_share_that_was_asked_for_and_the_file_keeps_its_own(dense, data, tmp_path, momentum):
    seen = set()
    settings = settings_of(dense, data, tmp_path / "run", epochs=1, bn_momentum=momentum)
    real = nn.BatchNorm2d.forward

    def watched(module, values):
        if module.training:
            seen.add(module.momentum)
        return real(module, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.BatchNorm2d, "forward", watched)
        result = run_training(settings, "detect", lambda event: None)
    own = {module.momentum for module in load_checkpoint(dense)[0].modules() if isinstance(module, nn.BatchNorm2d)}
    assert seen == ({momentum} if momentum else own)
    for path in (result.best, result.last):
        left = {module.momentum for module in load_checkpoint(path)[0].modules() if isinstance(module, nn.BatchNorm2d)}
        assert left == own


@pytest.mark.parametrize("momentum", [0.0, -0.1, 1.5])
def test_a_momentum_that_cannot_be_is_refused(momentum):
    with pytest.raises(TrainingError, match=r"bn_momentum is .*; it must be a number of more than 0 and at most 1"):
        TrainSettings("a.pt", Path("data.yaml"), Path("run"), epochs=1, imgsz=64, bn_momentum=momentum)

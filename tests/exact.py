"""Runs that are held to one another, weight by weight: of one model and its teacher, in every kind of training."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from engine.base.errors import StopRequested
from engine.checkpoints.checkpoint import open_checkpoint
from engine.pruning.session import Slimming
from engine.training import TrainResult, TrainSettings, run_training
from engine.training.sparsity import SparsitySettings
from tests.shapes import SIZE, draw_shapes, learnt

EPOCHS, CLOSING = 5, 4
"The fourth epoch is the first without mosaics."


def make_settings(tmp_path_factory) -> Callable[..., TrainSettings]:
    """Return a function that returns the settings of a kind of run, all of one pruned model and one data set."""
    folder = tmp_path_factory.mktemp("inputs")
    data = draw_shapes(folder / "set", "detect")
    # Really trained, so that accuracy moves and best.pt is not always the last epoch's.
    teacher = learnt(data, "detect", folder / "teacher.pt")
    pruned = str(Slimming.open(teacher).prune(0.3, folder / "pruned.pt"))

    def build(kind: str, save_dir: Path, **more) -> TrainSettings:
        own = {
            "train": {},
            "finetune": {"cos_lr": True, "nbs": 12, "lr0": 0.005},  # gradients are gathered over the end of an epoch
            "distil": {"teacher": str(teacher), "optimizer": "AdamW", "lr0": 0.001},
            "targeted": {"sparsity": SparsitySettings(ratio=0.4)},
            "proximal": {"sparsity": SparsitySettings(method="proximal", strength=1.0, schedule="linear"), "nbs": 8},
            "classic": {"sparsity": SparsitySettings(method="classic", warmup=0.3)},
        }[kind]
        common = {"epochs": EPOCHS, "imgsz": SIZE, "batch": 4, "nbs": 4, "workers": 0}
        extra = {"close_mosaic": EPOCHS - CLOSING + 1}
        return TrainSettings(weights=pruned, data=data, save_dir=save_dir, extra=extra, **{**common, **own, **more})

    return build


def make_whole(settings: Callable[..., TrainSettings], tmp_path_factory) -> Callable[[str], TrainResult]:
    """Return a function that returns what a kind of run gives in one go, which is trained once."""

    @cache
    def trained(kind: str) -> TrainResult:
        wanted = settings(kind, tmp_path_factory.mktemp("whole") / kind)
        done = run_training(wanted, "detect", stopping())
        assert len({row["metrics/mAP50-95(B)"] for row in rows(wanted.save_dir)}) > 1, "accuracy moves"
        return done

    return trained


def stopping(*moment) -> Callable[[dict], None]:
    """Return a report that asks to stop at the first batch of an epoch ("within", 2) or at its end ("after", 2)."""
    wanted = {"within": ("step", 1), "after": ("epoch", None)}

    def report(event):
        if moment and (event["kind"], event.get("step")) == wanted[moment[0]] and event["epoch"] == moment[1]:
            raise StopRequested

    return report


def interrupted(settings: TrainSettings, *moments) -> tuple[list[TrainResult | None], TrainResult]:
    """Run with a stop at each moment, going on after each; None is the result of a part that ended with nothing."""
    parts, told = [], []

    def report(event):
        told.extend([event["epoch"]] if event["kind"] == "epoch" else [])
        stop(event)

    for number, moment in enumerate((*moments, ())):
        stop = stopping(*moment)
        try:
            parts.append(run_training(replace(settings, resume=number > 0), "detect", report))
        except StopRequested:
            parts.append(None)
    assert told == list(range(1, parts[-1].epochs_done + 1)), "each epoch is told once"
    return parts[:-1], parts[-1]


def rows(save_dir: Path) -> list[dict[str, str]]:
    with open(save_dir / "results.csv", encoding="utf-8") as stream:
        return [{name: value for name, value in row.items() if name != "time"} for row in csv.DictReader(stream)]


def assert_same_weights(first: Path, second: Path) -> None:
    tensors, others = (open_checkpoint(path).model.state_dict() for path in (first, second))
    assert tensors.keys() == others.keys()
    assert not [name for name in tensors if not torch.equal(tensors[name], others[name])], first.name


def assert_same_run(first: TrainResult, second: TrainResult) -> None:
    for one, other in ((first.best, second.best), (first.last, second.last)):
        assert_same_weights(one, other)
    folders = [result.last.parents[1] for result in (first, second)]
    assert rows(folders[0]) == rows(folders[1])
    assert [row["epoch"] for row in rows(folders[1])] == [str(number + 1) for number in range(first.epochs_done)]
    assert first.last_metrics == second.last_metrics
    # Measured by Ultralytics on best.pt, which for depth a stop has calibrated once already: the same but for rounding.
    assert second.metrics == pytest.approx(first.metrics, rel=1e-6 if "rmse" in first.metrics else 0, abs=0)
    assert {path.name for path in second.last.parent.iterdir()} == {"best.pt", "last.pt"}

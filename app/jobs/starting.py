"""Start jobs, say in words where they stand, and follow their epochs without reading one twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app.frame.session import store
from app.words import format
from engine import jobs
from engine.training.sparsity import TrainingLength, images_taken
from engine.workspace.store import Job, Model

_SUFFIXES = {"train": "trained", "sparsify": "sparse-trained", "finetune": "fine-tuned"}
_TEACHER_LOSS = "/dis_loss"
_DENSE_KINDS = ("sparse", "trained", "imported", "demo")


def start_training(verb: str, model: Model, spec: dict[str, Any]) -> Job:
    """Start training, sparse training, fine-tuning or validation of a model as a job.

    A fine-tuned model is measured beside the dense one that it comes from, where there is one.

    Args:
        verb: train, sparsify, finetune or val.
        model: What it starts from; becomes the parent of the model that comes out of it.
        spec: Its settings, without the weights.

    Raises:
        JobError: The worker cannot be started.
    """
    if verb == "finetune" and (ancestor := dense_ancestor(store().lineage(model.id))):
        spec = {"reference": str(ancestor.path), **spec}
    title = f"{model.name}, {_SUFFIXES[verb]}" if verb in _SUFFIXES else f"Validate {model.name}"
    return jobs.submit(store(), verb, {"weights": str(model.path), **spec}, title, model.id)


def start_export(model: Model, spec: dict[str, Any]) -> Job:
    """Start an ONNX export; it is short and does not wait for the jobs that train."""
    spec = {"weights": str(model.path), **spec}
    precision = spec.get("precision", "fp32")
    kind = "" if precision == "fp32" else f", {precision.upper()}"
    return jobs.submit(store(), "export", spec, f"Export {model.name}{kind}", model.id, exclusive=False)


def dense_ancestor(lineage: list[Model]) -> Model | None:
    """Return the nearest ancestor that is there and larger, the one a pruned model was cut from, else None.

    Args:
        lineage: The ancestors and the model itself, the oldest first.
    """
    *ancestors, model = lineage
    for ancestor in reversed(ancestors):
        if not ancestor.deleted and ancestor.kind in _DENSE_KINDS and (_params(ancestor) or 0) > (_params(model) or 0):
            return ancestor
    return None


def _params(model: Model) -> int | None:
    return model.params or model.metrics.get("params")


def training_length(spec: dict[str, Any], images: int) -> TrainingLength:
    """Return how long a training with these settings is on so many images; an automatic batch counts as 16."""
    spec = spec if spec["batch"] >= 1 else {**spec, "batch": 16}
    names, given = ("epochs", "batch", "nbs", "lr0", "optimizer"), spec.get("ultralytics") or {}
    more = {name: given[name] for name in ("cos_lr", "momentum", "lrf") if name in given}
    if "warmup_epochs" in given:
        more["warmup"] = given["warmup_epochs"]
    return TrainingLength(
        images_taken(images, given.get("fraction", 1.0)), **{name: spec[name] for name in names}, **more
    )


def verb_word(verb: str) -> str:
    """Return what a job does, as a person says it."""
    return format.VERBS.get(verb, verb.capitalize())


def device_words(devices: Sequence[str]) -> str:
    """Return ('cuda:0', 'cuda:1') as 'GPU 0 and GPU 1'; empty for a job that needs no device for itself."""
    words = {"cpu": "CPU", "mps": "Apple GPU"}
    names = [words.get(device, f"GPU {device.rpartition(':')[2]}") for device in devices]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def ordinal(number: int) -> str:
    """Return 1 as '1st', 12 as '12th'."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def place_words(place: int) -> str:
    """Return 1 as 'next in line', 2 as '2nd in line'."""
    return f"{'next' if place == 1 else ordinal(place)} in line"


def waiting_text(place: int | None, devices: Sequence[str], *, busy: bool) -> str:
    """Say where a queued job stands.

    Args:
        place: Among those that wait for its devices, 1 being next; None when it does not wait any more.
        devices: What it needs for itself alone.
        busy: Whether another job works on one of them.
    """
    if place is None or (place == 1 and not busy):
        return "Starting"
    words = place_words(place)
    return f"{words[0].upper()}{words[1:]} for {_with_article(devices)}"


def queue_text(job: Job) -> str:
    """Say where a queued job of the workspace stands."""
    active = store().jobs(("running", "stopping"))
    busy = any(set(other.devices) & set(job.devices) for other in active)
    return waiting_text(store().queue_position(job.id), job.devices, busy=busy)


def _with_article(devices: Sequence[str]) -> str:
    words = device_words(devices)
    return words if words.startswith("GPU") else f"the {words}"


def log_beyond(reason: str, tail: str) -> str:
    """Return the last lines of a log without those that only repeat the reason."""
    return "\n".join(line for line in tail.splitlines() if line.strip() != reason.strip())


@dataclass
class EpochTail:
    """The epochs of a job that this session has read so far."""

    last_seq: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, float] = field(default_factory=dict)
    "Metrics of the model that training began with, empty where they were not measured."


def epochs_of(job_id: str) -> EpochTail:
    """Return what a job reported of its epochs, in their order; only what is new is read from the store."""
    tail = st.session_state.setdefault(f"epochs of {job_id}", EpochTail())
    for event in store().events(job_id, after_seq=tail.last_seq, kinds=("start", "epoch")):
        tail.last_seq = event.seq
        if event.kind == "start":
            tail.start = event.payload["metrics"]
        else:
            tail.epochs = with_epoch(tail.epochs, event.payload)
    return tail


def with_epoch(epochs: list[dict[str, Any]], epoch: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the epochs with one more; a resumed job repeats epochs, and the later report counts."""
    return [*(known for known in epochs if known["epoch"] < epoch["epoch"]), epoch]


def metric_series(epochs: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
    """Return metric name -> (epoch, value) pairs, for those of ``names`` that were reported."""
    series = {
        name: [(epoch["epoch"], epoch["metrics"][name]) for epoch in epochs if name in epoch.get("metrics", {})]
        for name in names
    }
    return {name: points for name, points in series.items() if points}


def loss_series(epochs: list[dict[str, Any]], *, teacher: bool = False) -> dict[str, list[tuple[int, float]]]:
    """Return loss name, such as 'train/box_loss', -> (epoch, value) pairs.

    The distance to a teacher is many times larger than the other losses, so it is told apart: with ``teacher`` it
    alone, in training, otherwise the others.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for epoch in epochs:
        for name, value in epoch.get("losses", {}).items():
            if name.endswith(_TEACHER_LOSS) != teacher or (teacher and name.startswith("val/")):
                continue
            series.setdefault(name, []).append((epoch["epoch"], value))
    return series

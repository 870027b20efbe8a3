"""Start jobs, and follow their epochs without reading one twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app.session import store
from engine import jobs
from engine.store import Job, Model

_SUFFIXES = {"train": "trained", "sparsify": "sparse-trained", "finetune": "fine-tuned"}


def start_training(verb: str, model: Model, spec: dict[str, Any]) -> Job:
    """Start training, sparse training, fine-tuning or validation of a model as a job.

    Args:
        verb: train, sparsify, finetune or val.
        model: What it starts from; becomes the parent of the model that comes out of it.
        spec: Its settings, without the weights.

    Raises:
        JobError: The worker cannot be started.
    """
    title = f"{model.name}, {_SUFFIXES[verb]}" if verb in _SUFFIXES else f"Validate {model.name}"
    return jobs.submit(store(), verb, {"weights": str(model.path), **spec}, title, model.id)


def start_export(model: Model, spec: dict[str, Any]) -> Job:
    """Start an ONNX export; it is short and does not wait for the jobs that train."""
    spec = {"weights": str(model.path), **spec}
    return jobs.submit(store(), "export", spec, f"Export {model.name}", model.id, exclusive=False)


@dataclass
class EpochTail:
    """The epochs of a job that this session has read so far."""

    last_seq: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)


def epochs_of(job_id: str) -> list[dict[str, Any]]:
    """Return the payloads of all epoch events of a job; only what is new is read from the store."""
    tail = st.session_state.setdefault(f"epochs of {job_id}", EpochTail())
    for event in store().events(job_id, after_seq=tail.last_seq, kinds=("epoch",)):
        tail.last_seq = event.seq
        tail.epochs.append(event.payload)
    return tail.epochs


def metric_series(epochs: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
    """Return metric name -> (epoch, value) pairs, for those of ``names`` that were reported."""
    series = {
        name: [(epoch["epoch"], epoch["metrics"][name]) for epoch in epochs if name in epoch.get("metrics", {})]
        for name in names
    }
    return {name: points for name, points in series.items() if points}


def loss_series(epochs: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return loss name, such as 'train/box_loss', -> (epoch, value) pairs."""
    series: dict[str, list[tuple[int, float]]] = {}
    for epoch in epochs:
        for name, value in epoch.get("losses", {}).items():
            series.setdefault(name, []).append((epoch["epoch"], value))
    return series

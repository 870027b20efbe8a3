"""Latency on the Prune page: what this machine's table predicts of a model's plans, and the job that fills it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app.frame.session import explained, store
from app.jobs.measure_button import Measurement, offer_measuring, remember, status_words
from engine import jobs
from engine.base import numbers
from engine.base.errors import WorkbenchError
from engine.base.imgsz import ImageSize, pixels, size_for_json
from engine.base.runtime import compute_threads
from engine.latency import LatencyCosts, LatencyTable, known_costs, table_path
from engine.pruning.planning import ProfilePlanner
from engine.settings.plan import MAX_RATIO, PlanSettings
from engine.verbs import plan_arguments
from engine.workspace.store import Job, Model

_HELP = (
    "Times the model and its convolutions in ONNX Runtime on this machine's processor, once, in the background. "
    "Takes a minute or a few."
)
_HELP_AGAIN = "Times the whole model once more, in the background, if the machine was busy the last time."


@dataclass(frozen=True)
class PredictedLatency:
    """The time of one image before and after pruning."""

    before_ms: float
    after_ms: float
    about: str
    "What it is predicted for, in a sentence."


@st.cache_resource(max_entries=12, show_spinner=False)
def _known(
    digest: str, imgsz: ImageSize, path: str, changed_ns: int, threads: int, _opened: ProfilePlanner
) -> LatencyCosts | None:
    return known_costs(_opened, imgsz, LatencyTable(Path(path), threads))


def latency_costs(opened: ProfilePlanner, imgsz: ImageSize) -> LatencyCosts | None:
    """Return what predicts the latency of a model's plans, None where this machine has not measured it.

    Args:
        opened: The model.
        imgsz: Image size, pixels or (height, width).

    Raises:
        PlanError: The model does not run at that image size.
    """
    threads = compute_threads()
    path = table_path(threads)
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        return None
    return _known(opened.digest, imgsz, str(path), changed_ns, threads, opened)


def predicted_latency(costs: LatencyCosts | None, imgsz: ImageSize, keep: np.ndarray) -> PredictedLatency | None:
    """Return the latency of a plan, None where this machine has not measured it.

    Args:
        costs: As ``latency_costs`` returned them.
        imgsz: Image size, pixels or (height, width) that they hold for.
        keep: (G,) keep mask of the plan.
    """
    if costs is None:
        return None
    about = f"Predicted for one image at {pixels(imgsz)}, {_where(costs.threads)}."
    return PredictedLatency(costs.whole_ms, costs.latency_ms(keep), about)


def choose_latency(
    model: Model, opened: ProfilePlanner, imgsz: ImageSize, costs: LatencyCosts, chosen: dict[str, Any]
) -> float:
    """Show the milliseconds that a plan may take at most, and return them.

    Args:
        model: What is pruned.
        opened: The same, opened.
        imgsz: Image size, pixels or (height, width).
        costs: What predicts its latency.
        chosen: Limits and scores, under the verb's names.
    """
    whole = costs.whole_ms
    target = st.number_input(
        "At most so many milliseconds an image",
        0.01,
        None,
        ceil(max(whole / 2, _least_ms(opened, costs, chosen)) * 100) / 100,
        max(round(whole / 50, 2), 0.01),
        format="%.2f",
        key=f"max latency {opened.digest} {imgsz}",
        persist_state="session",
        help="Predicted, at the image size chosen under Limits. The plan comes as close as it can, from below.",
    )
    said = f"The whole model takes {numbers.milliseconds(whole)} at {pixels(imgsz)}, {_where(costs.threads)}."
    _offer(model, imgsz, said, "Measure again", _HELP_AGAIN)
    return target


def _least_ms(opened: ProfilePlanner, costs: LatencyCosts, chosen: dict[str, Any]) -> float:
    """Return the latency of the smallest plan; half of the whole model's may be out of reach.

    The page should not begin with a refusal.
    """
    try:
        asked = plan_arguments(PlanSettings.read({"prune_ratio": MAX_RATIO, **chosen}))
        return costs.latency_ms(opened.plan(asked.target, asked.settings, importance=asked.importance).keep)
    except WorkbenchError:  # the plan below says what is wrong with the settings
        return 0.0


def offer_latency(model: Model, imgsz: ImageSize) -> None:
    """Say that this machine cannot predict the latency of a model yet, and offer to measure what it takes."""
    said = f"This machine has not timed this model at {pixels(imgsz)} yet, so its latency cannot be predicted."
    _offer(model, imgsz, said, "Measure latency", _HELP)


def _offer(model: Model, imgsz: ImageSize, said: str, label: str, help: str) -> None:
    measurement = Measurement("latency", label, help, lambda job: _predicts(job, imgsz), status_words)
    offer_measuring(measurement, model, said, lambda: _start_and_follow(model, imgsz))


def start_measuring(model: Model, imgsz: ImageSize) -> Job:
    """Start the job that measures what the latency of a model's plans is predicted from. Raises JobError."""
    spec = {"weights": str(model.path), "predict": True, "imgsz": size_for_json(imgsz), "threads": compute_threads()}
    job = jobs.submit(store(), "latency", spec, f"Latency of {model.name}", model.id)
    remember(job, model)
    return job


def _start_and_follow(model: Model, imgsz: ImageSize) -> None:
    with explained(stop=True):
        start_measuring(model, imgsz)
    st.rerun()


def _predicts(job: Job, imgsz: ImageSize) -> bool:
    return bool(job.spec.get("predict")) and job.spec.get("imgsz") == size_for_json(imgsz)


def _where(threads: int) -> str:
    return f"in ONNX Runtime with {threads} thread{'' if threads == 1 else 's'} of this machine's processor"

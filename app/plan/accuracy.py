"""Measured accuracy on the Prune page: the curve behind the slider, the heat map of blocks, the jobs that measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from app import charts
from app.data.choosing import choose_data
from app.data.fit import goes_together
from app.frame.session import dark, explained, store
from app.jobs.measure_button import Measurement, offer_measuring, remember
from app.training.settings import devices, told_size
from app.words import format
from app.words.fields import numeric, setting
from app.words.measured import MeasuredBlocks, MeasuredCurve, measured_blocks, measured_curve
from engine import jobs
from engine.base.tasks import TASKS, metric_label
from engine.pruning.planning import ProfilePlanner
from engine.settings.choices import IMAGE_CRITERIA
from engine.validation.study import FOLDER, Study, find_studies, read_study, settings_of
from engine.workspace.store import Job, Model

VERBS = {"accuracy": "Measure accuracy", "sensitivity": "Measure sensitivity"}
STEPS = {0.1: "Every 0.1", 0.05: "Every 0.05"}
_TARGETS = ("prune_ratio", "max_params", "max_gflops", "target_latency", "threads", "imgsz")
"Keys of a plan that say how far to prune, or at which size GFLOPs are counted; a curve covers them all."
_HELP = "Prunes in memory and validates, in the background. What was measured before is not repeated."
_MAP_WIDTH = 620
"Pixels at most: three columns of numbers."


@st.cache_data(max_entries=64, show_spinner=False)
def _study(path: str, changed_ns: int) -> Study | None:
    return read_study(path)


def _studies(model: Model, kind: str) -> list[tuple[Path, Study]]:
    """Return (file, content) of the studies of a model, the latest first; each is read once a change."""
    found = []
    for path in find_studies(folder(), kind, model.digest):
        study = _study(str(path), path.stat().st_mtime_ns)
        if study and study.weights == model.digest:
            found.append((path, study))
    return found


def folder() -> Path:
    """Return where the workspace keeps studies."""
    return store().folder / FOLDER


def measurable(opened: ProfilePlanner) -> bool:
    """Whether the model is for a task that can be validated here."""
    return opened.facts.task in TASKS


def curve_of(model: Model, asked: Any) -> MeasuredCurve | None:
    """Return the latest curve that was measured with the plan's limits and scores, None where there is none.

    Args:
        model: The model.
        asked: ``PlanArguments``.
    """
    wanted = settings_of(solver=asked.settings, importance=asked.importance)
    for _, study in _studies(model, "accuracy"):
        if study.settings | wanted == study.settings and (curve := measured_curve(study)):
            return curve
    return None


def blocks_of(model: Model) -> tuple[Path, MeasuredBlocks] | None:
    """Return the latest measurement of a model's blocks with its file."""
    for path, study in _studies(model, "sensitivity"):
        if measured := measured_blocks(study):
            return path, measured
    return None


def offer_accuracy(model: Model, opened: ProfilePlanner, plan: dict[str, Any], curve: MeasuredCurve | None) -> None:
    """Say what the curve behind the slider was measured on, or that it was not; offer to measure it."""
    said = curve.about if curve else "What these settings do to accuracy has not been measured."
    _offer("accuracy", model, opened, plan, said, measured=curve is not None)


def show_sensitivity(model: Model, opened: ProfilePlanner, plan: dict[str, Any]) -> None:
    """Show the heat map of blocks, folded away, or offer to measure it."""
    known = blocks_of(model)
    with st.expander("Sensitivity: where cutting hurts", icon=":material/grid_on:"):
        if known:
            _, blocks = known
            figure = charts.sensitivity_map(
                blocks.names, blocks.kinds, blocks.shares, blocks.changes, score=blocks.score, dark=dark()
            )
            with st.container(width=_MAP_WIDTH):
                st.plotly_chart(figure, config=charts.CONFIG, key="sensitivity map")
        said = (
            f"Change of {known[1].score} with one block alone pruned. {known[1].about}"
            if known
            else f"Prunes one block at a time, at 25, 50 and 75 %, and measures what is left of {_metric_of(opened)}."
        )
        _offer("sensitivity", model, opened, plan, said, measured=known is not None)


def _metric_of(opened: ProfilePlanner) -> str:
    return metric_label(TASKS[opened.facts.task].metric)


def _offer(verb: str, model: Model, opened: ProfilePlanner, plan: dict[str, Any], said: str, *, measured: bool) -> None:
    label = "Measure again" if measured else VERBS[verb]
    offer_measuring(Measurement(verb, label, _HELP), model, said, lambda: _ask(verb, model, opened, plan))


@st.dialog("Measure", icon=":material/monitoring:")
def _ask(verb: str, model: Model, opened: ProfilePlanner, plan: dict[str, Any]) -> None:
    """Ask on which images to measure, and start the job."""
    st.markdown(f"**{VERBS[verb]}** of {format.plain(model.name)}")
    if plan.get("criterion") in IMAGE_CRITERIA:  # one data set: what is scored on others is another curve
        data = plan["data"]
        st.caption(format.plain(f"On the data set that channels are scored on: {data}"))
    else:
        data = choose_data(model, "measure")
    spec = _asked_images(verb, opened)
    if verb == "accuracy":
        spec["ratios"] = _asked_ratios()
    ready = data is not None and goes_together(opened, data, verb)
    if st.button("Start", key="start measuring", type="primary", disabled=not ready, help="Runs in the background."):
        with explained(stop=True):
            start_measuring(verb, model, plan, {**spec, "data": data})
            st.rerun()


def _asked_images(verb: str, opened: ProfilePlanner) -> dict[str, Any]:
    """Ask on how many images, at which size and where to measure; return it under the verb's names."""
    grid, repair = st.grid(2, min_column_width=160), setting(verb, "recalibrate")
    images = grid.number_input(
        **numeric(setting(verb, "images")), value=setting(verb, "images").default, key="measure images"
    )
    recalibrate = grid.number_input(
        **numeric(repair, f"{repair.sentence} {f'Empty: {repair.option.usual}.' if repair.option.usual else ''}"),
        value=repair.default,
        placeholder="Automatic",
        key=f"measure recalibrate {verb}",
    )
    imgsz = grid.number_input(
        **numeric(setting(verb, "imgsz")),
        value=opened.facts.trained_imgsz,
        key=f"measure size {opened.digest}",
    )
    imgsz = told_size(imgsz, opened.stride)
    names = {device: name for device, name in devices().items() if "," not in device}
    device = grid.selectbox(
        "Device",
        list(names),
        format_func=format.labels_of(names),
        key="measure device",
        help="One job at a time uses a device.",
    )
    return {"images": images, "recalibrate": recalibrate, "imgsz": imgsz, "device": device}


def _asked_ratios() -> list[float]:
    step = st.segmented_control(
        "Ratios",
        list(STEPS),
        default=0.1,
        format_func=format.labels_of(STEPS),
        required=True,
        key="measure step",
        help="Between measured ratios the curve is a straight line.",
    )
    return [round(step * number, 2) for number in range(1, int(0.95 / step + 1e-9) + 1)]


def start_measuring(verb: str, model: Model, plan: dict[str, Any], spec: dict[str, Any]) -> Job:
    """Start a measurement of a model as a job.

    Args:
        verb: accuracy or sensitivity.
        model: What is measured.
        plan: The page's plan; how far it prunes does not matter.
        spec: Images, data set, device.

    Raises:
        JobError: The worker cannot be started.
    """
    limits = {key: value for key, value in plan.items() if key not in _TARGETS}
    if verb == "sensitivity":
        limits.pop("sensitivity", None)
    spec = {"weights": str(model.path), **limits, **spec, "measurements": str(folder())}
    job = jobs.submit(store(), verb, spec, f"{VERBS[verb].split()[1].capitalize()} of {model.name}", model.id)
    remember(job, model)
    return job

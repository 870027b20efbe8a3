"""One job as it happens: state, progress, curves, log, and what came out of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts
from app.frame.session import dark, explained, store
from app.jobs.actions import offer_afterwards, offer_recipe, offer_stop
from app.jobs.chains import show_chain
from app.jobs.results import show_result
from app.jobs.starting import device_words, epochs_of, log_beyond, loss_series, metric_series, queue_text, verb_word
from app.words import format
from engine import jobs
from engine.base import numbers
from engine.base.errors import JobError
from engine.base.tasks import METRICS, TASKS, metric_label, task_of
from engine.jobs import Progress
from engine.settings.results import Metrics, Result, TrainingResult
from engine.workspace.store import Job

_POLL_S = 1.0
_LAST_LINES = 8
"Of the log, shown with the reason why a job failed."


def show_job(job_id: str, *, manage: bool = True) -> None:
    """Show a job and follow it until it has ended; ``manage`` adds what can be done with one that has ended."""
    try:
        job = store().job(job_id)
    except JobError as error:
        st.warning(format.plain(str(error)))
        return
    show_chain(job)
    # A fragment with a timer polls for as long as it is on the page, so a finished job gets none.
    st.fragment(_show, run_every=None if job.finished else _POLL_S)(job_id, not job.finished, manage)


def _show(job_id: str, expected_active: bool, manage: bool) -> None:
    with explained(stop=True):
        jobs.reconcile(store())
        job = store().job(job_id)
    if job.finished and expected_active:
        st.rerun()
    _show_head(job, manage)
    at = jobs.progress(store(), job)
    if not job.finished:
        _show_progress(job, at)
    else:
        _show_end(job, at)
    reported = epochs_of(job.id)
    _show_tiles(reported.epochs, reported.start, job.result)
    show_result(job)
    _show_curves(reported.epochs, reported.start)
    _show_log(job)


def _show_head(job: Job, manage: bool) -> None:
    word, colour, icon = format.STATES[job.state]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            st.markdown(f"**{format.plain(job.title)}**", width="content")
            st.badge(word, icon=icon, color=colour)
            st.caption(_facts(job), width="content")
        with st.container(horizontal=True, width="content"):
            if not job.finished:
                offer_stop(job)
            elif manage:
                offer_afterwards(job)
            if manage:
                offer_recipe(job)


def _facts(job: Job) -> str:
    ran = format.run_time(job)
    facts = [verb_word(job.verb), device_words(job.devices)]
    if ran is not None:
        facts.append(format.duration(ran))
    return " · ".join(filter(None, facts))


def _show_progress(job: Job, at: Progress) -> None:
    if job.state == "queued":
        st.progress((at.percent or 0.0) / 100, text=queue_text(job))
        return
    st.progress((at.percent or 0.0) / 100, text=progress_text(at) or "Starting")


def _show_end(job: Job, at: Progress) -> None:
    """Say why a job ended, where it did not end as it should."""
    if job.state == "stopped":
        st.info(format.plain(job.reason) or stopped_text(at), icon=":material/stop_circle:")
    elif job.state in ("failed", "interrupted"):
        reason = format.with_names(job.reason or "It ended without saying why.", store().models(deleted=True))
        st.error(format.plain(reason), icon=":material/error:")
        if lines := log_beyond(job.reason, jobs.log_tail(store(), job.id, _LAST_LINES)):
            st.caption("The last lines of its log:")
            st.code(lines, language=None)


def stopped_text(at: Progress) -> str:
    """Return 'Stopped on request in epoch 2 of 30.', or without the epoch for a verb that has none."""
    where = f" in epoch {at.epoch} of {at.epochs}" if at.epoch and at.epochs and at.epochs > 1 else ""
    return f"Stopped on request{where}."


def progress_text(at: Progress) -> str:
    """Return 'Epoch 2 of 30 · step 5 of 12 · 3 min 20 s left', or the latest status text."""
    parts = []
    if at.epoch and at.epochs and at.epochs > 1:
        parts.append(f"Epoch {at.epoch} of {at.epochs}")
    if at.step and at.steps:
        parts.append(f"step {at.step} of {at.steps}")
    if at.seconds_left:
        parts.append(f"{format.duration(at.seconds_left)} left")
    return format.plain(" · ".join(parts) or at.status)


def _scores(epochs: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the four metrics that are shown as numbers, as the task of the run has them."""
    task = task_of(epochs[-1].get("metrics", {})) or TASKS["detect"]
    return task.metrics[:4]


def _score_delta(name: str, change: float | None) -> format.Delta:
    if change is None:
        return {}
    return format.delta(numbers.score_change(change), change, less_is_better=not METRICS[name].larger_is_better)


def told_scores(epochs: list[dict[str, Any]], start: Metrics, result: Result | None) -> tuple[Metrics, Metrics, str]:
    """Return metrics to show, those that they are held against, and of what they are.

    While a training goes on, and of a sparse run, which hands over its last epoch: the latest epoch against the start.
    Afterwards the model that came out, against the one that it is judged against.
    """
    if isinstance(result, TrainingResult) and result.metrics and not result.sparsity:
        parent = next((row.metrics for row in result.comparison if row.role == "parent"), result.start or start)
        return result.metrics, parent, "Of the model that came out"
    return epochs[-1].get("metrics", {}), start, "Of the latest epoch"


def _show_tiles(epochs: list[dict[str, Any]], start: Metrics, result: Result | None) -> None:
    if not epochs:
        return
    gammas = epochs[-1].get("gammas")
    scores, start, what = told_scores(epochs, start, result)
    shown = {name: scores[name] for name in _scores(epochs) if name in scores}
    count = len(shown) + (2 if gammas else 0)
    with st.grid(3 if count > 4 else count, min_column_width=150 if count > 4 else 180):  # no hole in the last row
        for name, value in shown.items():
            change = value - start[name] if name in start else None
            against = ", with the change against the model that training began with" if name in start else ""
            st.metric(
                metric_label(name),
                numbers.score(value),
                **_score_delta(name, change),
                help=f"{what}{against}.",
                border=True,
            )
        if gammas:
            st.metric(
                "Gammas at zero",
                numbers.percent(gammas["zero"]),
                delta=f"{numbers.percent(gammas['below_1e-2'])} near zero" if len(epochs) > 1 else None,
                delta_color="off",
                delta_arrow="off",
                help="Channels whose gamma is exactly 0, and those below 0.01.",
                border=True,
            )
            st.metric(
                "Free to prune",
                numbers.percent(gammas["free_ratio"]),
                delta="of what can be pruned" if len(epochs) > 1 else None,
                delta_color="off",
                delta_arrow="off",
                help="Share of the prunable channels whose gammas are all exactly 0: cutting them out changes next to "
                "nothing.",
                border=True,
            )


def _show_curves(epochs: list[dict[str, Any]], start: Metrics) -> None:
    if not epochs:
        return
    total = epochs[-1].get("epochs", len(epochs))
    with st.grid(2, min_column_width=280):
        task = task_of(epochs[-1].get("metrics", {})) or TASKS["detect"]
        shares = tuple(name for name in task.metrics if METRICS[name].share)[:2]
        if scores := metric_series(epochs, shares):
            begun = {metric_label(name): start[name] for name in scores if name in start}
            scores = {metric_label(name): points for name, points in scores.items()}
            title = "mAP" if task.boxes else metric_label(task.metric)
            _draw("live scores", charts.score_curves(scores, total, start=begun, title=title, dark=dark()))
        if losses := loss_series(epochs):
            _draw("live losses", charts.loss_curves(losses, total, dark=dark()))
        if distances := loss_series(epochs, teacher=True):
            figure = charts.loss_curves(distances, total, dark=dark())
            _draw(
                "live distances", figure.update_yaxes(title="Distance to the teacher").update_layout(showlegend=False)
            )
        if epochs[-1].get("gammas"):
            _show_gammas([epoch for epoch in epochs if epoch.get("gammas")], total)


def _show_gammas(epochs: list[dict[str, Any]], total: int) -> None:
    reported = [epoch["gammas"] for epoch in epochs]
    edges, counts = reported[-1]["histogram"]
    first = reported[0]["histogram"][1] if len(reported) > 1 else None
    _draw("live gammas", charts.moving_histogram(edges, counts, first, dark=dark()))
    numbers = [epoch["epoch"] for epoch in epochs]
    _draw("live quantiles", charts.gamma_course(numbers, reported, total, dark=dark()))


def _draw(key: str, figure: Any) -> None:
    st.plotly_chart(figure, config=charts.CONFIG, key=key)


def _show_log(job: Job) -> None:
    with st.expander("Log", icon=":material/terminal:"):
        with st.container(height=260, border=False, autoscroll=True):
            st.code(jobs.log_tail(store(), job.id, 60) or "Nothing yet.", language=None)
        st.caption(f"Files of this job: {format.plain(str(store().job_folder(job.id)))}")

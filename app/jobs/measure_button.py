"""What a page measures in a job of its own: the button below a result, its progress, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app.frame.session import explained, store
from app.jobs.actions import offer_stop
from app.jobs.starting import queue_text
from app.words import format
from engine import jobs
from engine.base.errors import JobError
from engine.jobs import Progress
from engine.workspace.store import ACTIVE_STATES, Job, Model

_POLL_S = 1.0


def counted_words(at: Progress) -> list[str]:
    """Return what a measurement has done, for a verb whose status says what it did last."""
    done = [f"Measuring: {at.step} of {at.steps}"] if at.steps else ["Starting"]
    return [*done, *_time_left(at), *filter(None, [at.status])]


def status_words(at: Progress) -> list[str]:
    """Return what a measurement is doing, for a verb whose status says how far it is."""
    return [at.status or "Starting", *_time_left(at)]


def _time_left(at: Progress) -> list[str]:
    return [f"{format.duration(at.seconds_left)} left"] if at.seconds_left else []


@dataclass(frozen=True)
class Measurement:
    """What a button measures."""

    verb: str
    label: str
    "On the button."
    help: str
    matches: Callable[[Job], bool] = lambda job: True
    "Which jobs of the verb are this measurement."
    words: Callable[[Progress], list[str]] = counted_words
    "How far it is."


def offer_measuring(measurement: Measurement, model: Model, said: str, start: Callable[[], None]) -> None:
    """Show one line of words with the button that measures, or how far the running measurement is.

    Args:
        measurement: What the button measures.
        model: What it is measured of.
        said: The words.
        start: Called when the button is pressed.
    """
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(format.plain(said), width="stretch")
        running = next((job for job in store().jobs(ACTIVE_STATES) if _is_of(job, measurement, model)), None)
        if running is None and st.button(
            measurement.label,
            key=f"measure {measurement.verb}",
            icon=":material/monitoring:",
            help=measurement.help,
        ):
            start()
    if running:
        st.fragment(_follow, run_every=_POLL_S)(running.id, measurement.words)
    else:
        _show_end(measurement, model)


def remember(job: Job, model: Model) -> None:
    """Keep in mind that this session started a measurement, so that it can say how that ended."""
    st.session_state[f"measuring {job.verb} {model.id}"] = job.id


def _is_of(job: Job, measurement: Measurement, model: Model) -> bool:
    return (job.verb, job.model_id) == (measurement.verb, model.id) and measurement.matches(job)


def _follow(job_id: str, words: Callable[[Progress], list[str]]) -> None:
    """Show how far a measurement is; the page is drawn anew once it has ended."""
    with explained():
        jobs.reconcile(store())
    try:
        job = store().job(job_id)
    except JobError:
        st.rerun(scope="app")
    if job.finished:
        st.rerun(scope="app")
    at = jobs.progress(store(), job)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress((at.percent or 0.0) / 100, text=measuring_text(job, words(at)), width="stretch")
        offer_stop(job)


def measuring_text(job: Job, words: list[str]) -> str:
    """Return 'Measuring: 3 of 10 · 40 s left · Pruned at 0.3: mAP50-95 0.512', or where a queued job stands."""
    if job.state == "queued":
        return queue_text(job)
    return format.plain(" · ".join(words))


def _show_end(measurement: Measurement, model: Model) -> None:
    """Say why the measurement that this session started did not end as it should."""
    job_id = st.session_state.get(f"measuring {measurement.verb} {model.id}")
    job = next((job for job in store().jobs() if job.id == job_id), None) if job_id else None
    if job is None or not measurement.matches(job):
        return
    if job.state in ("failed", "interrupted"):
        st.error(format.plain(job.reason) or "It ended without saying why.", icon=":material/error:")
    elif job.state == "stopped":
        st.caption("Stopped. What was measured is kept; measuring again goes on from there.")

"""One job as it happens: state, progress, curves, log, and what came out of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts, format
from app.jobs import epochs_of, loss_series, metric_series
from app.results import show_result
from app.session import dark, explained, store
from engine import jobs
from engine.errors import JobError
from engine.jobs import Progress
from engine.store import Job

SCORES = ("mAP50", "mAP50-95", "precision", "recall")
_POLL_S = 1.0


def show_job(job_id: str, *, manage: bool = True) -> None:
    """Show a job and follow it until it has ended; ``manage`` adds what can be done with one that has ended."""
    try:
        job = store().job(job_id)
    except JobError as error:
        st.warning(format.plain(str(error)))
        return
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
    elif job.reason:
        (st.error if job.state in ("failed", "interrupted") else st.info)(format.plain(job.reason))
    epochs = epochs_of(job.id)
    _show_tiles(epochs)
    show_result(job)
    _show_curves(epochs)
    _show_log(job)


def _show_head(job: Job, manage: bool) -> None:
    word, colour, icon = format.STATES[job.state]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(horizontal=True, vertical_alignment="center", width="stretch"):
            st.markdown(f"**{format.plain(job.title)}**", width="content")
            st.badge(word, icon=icon, color=colour)
            st.caption(_facts(job), width="content")
        with st.container(horizontal=True, width="content"):
            if not job.finished:
                _offer_stop(job)
            elif manage:
                _offer_afterwards(job)


def _facts(job: Job) -> str:
    ran = format.run_time(job)
    facts = [format.VERBS.get(job.verb, job.verb), " + ".join(job.devices).upper()]
    if ran is not None:
        facts.append(format.duration(ran))
    return " · ".join(filter(None, facts))


def _offer_stop(job: Job) -> None:
    if job.state != "stopping" and st.button(
        "Stop",
        key=f"stop {job.id}",
        icon=":material/stop:",
        help="Ends the job at its next step; checkpoints are kept.",
    ):
        with explained():
            jobs.stop(store(), job.id, grace_s=1.0)
            st.rerun()
    if job.state == "stopping":
        with st.popover("End now", icon=":material/dangerous:", help="For a job that does not stop by itself."):
            st.markdown("Ends the process at once. Work since its last checkpoint is lost.")
            if st.button("End it by force", key=f"kill {job.id}", type="primary"):
                with explained():
                    jobs.kill(store(), job.id)
                    st.rerun()


def _offer_afterwards(job: Job) -> None:
    if st.button(
        "Run again", key=f"retry {job.id}", icon=":material/replay:", help="Starts a new job with the same settings."
    ):
        with explained():
            again = jobs.retry(store(), job.id)
            st.query_params["job"] = again.id
            st.rerun()
    with st.popover("Delete", icon=":material/delete:", help="Removes the job and its files."):
        st.markdown("Removes the job, its log and the files in its folder. Models it made stay in the workspace.")
        if st.button("Delete the job", key=f"delete {job.id}", type="primary"):
            with explained():
                jobs.delete(store(), job.id)
                st.query_params.pop("job", None)
                st.rerun()


def _show_progress(job: Job, at: Progress) -> None:
    if job.state == "queued":
        place = store().queue_position(job.id)
        waits = (place is not None and place > 1) or _busy(job)
        st.progress(0.0, text="Waiting for its turn on this device" if waits else "Starting")
        return
    st.progress((at.percent or 0.0) / 100, text=progress_text(at) or "Starting")


def _busy(job: Job) -> bool:
    return any(set(other.devices) & set(job.devices) for other in store().jobs(("running", "stopping")))


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


def _show_tiles(epochs: list[dict[str, Any]]) -> None:
    if not epochs:
        return
    gammas = epochs[-1].get("gammas")
    series = metric_series(epochs, SCORES)
    with st.grid(len(series) + bool(gammas), min_column_width=150):
        for name, points in series.items():
            values = [value for _, value in points]
            st.metric(
                name[0].upper() + name[1:] if name in ("precision", "recall") else name,
                format.score(values[-1]),
                delta=f"{values[-1] - values[-2]:+.3f}" if len(values) > 1 else None,
                help="Of the latest epoch, with the change since the epoch before.",
                border=True,
            )
        if gammas:
            st.metric(
                "Gammas at zero",
                f"{gammas['zero']:.0%}",
                delta=f"{gammas['below_1e-2']:.0%} near zero" if len(epochs) > 1 else None,
                delta_color="off",
                delta_arrow="off",
                help="Channels whose gamma is exactly 0, and those below 0.01.",
                border=True,
            )


def _show_curves(epochs: list[dict[str, Any]]) -> None:
    if not epochs:
        return
    total = epochs[-1].get("epochs", len(epochs))
    gammas = epochs[-1].get("gammas")
    with st.grid(3 if gammas else 2, min_column_width=250):
        if scores := metric_series(epochs, SCORES[:2]):
            figure = charts.score_curves(scores, total, dark=dark())
            st.plotly_chart(figure, config=charts.CONFIG, key="live scores")
        if losses := loss_series(epochs):
            st.plotly_chart(charts.loss_curves(losses, total, dark=dark()), config=charts.CONFIG, key="live losses")
        if gammas:
            edges, counts = gammas["histogram"]
            first = epochs[0]["gammas"]["histogram"][1] if len(epochs) > 1 and epochs[0].get("gammas") else None
            figure = charts.moving_histogram(edges, counts, first, dark=dark())
            st.plotly_chart(figure, config=charts.CONFIG, key="live gammas")


def _show_log(job: Job) -> None:
    with st.expander("Log", icon=":material/terminal:"):
        with st.container(height=260, border=False, autoscroll=True):
            st.code(jobs.log_tail(store(), job.id, 60) or "Nothing yet.", language=None)
        st.caption(f"Files of this job: {format.plain(str(store().job_folder(job.id)))}")

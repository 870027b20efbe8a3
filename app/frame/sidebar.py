"""The frame beside every page: the current model, and what is running."""

from __future__ import annotations

import streamlit as st

from app.frame import session
from app.frame.session import PAGES, store
from app.words import format
from engine import jobs
from engine.base.tasks import score_heading
from engine.workspace.figures import Figures
from engine.workspace.store import ACTIVE_STATES, Job


def show_sidebar() -> None:
    """Show the model picker and the jobs that have not ended."""
    with st.sidebar:
        _show_model_picker()
        active = bool(store().jobs(ACTIVE_STATES))
        st.fragment(_show_running, run_every=2.0 if active else None)(active)


def _show_model_picker() -> None:
    known = {model.id: model for model in store().models(deleted=True)}
    models = {model_id: model for model_id, model in known.items() if not model.deleted}
    if not models:
        return
    labels = format.distinct_labels({model.id: model.name for model in models.values()})
    current = session.current_model()
    st.session_state["model_picker"] = current.id if current else None
    st.selectbox(
        "Current model",
        list(models),
        # A list finds what was picked by its label, so two models of one name need two labels.
        format_func=format.labels_of(labels),
        key="model_picker",
        on_change=_pick,
        placeholder="Choose a model",
        help="Every page works on this model. It is part of the address, so a second tab or a refresh keeps it.",
    )
    if current:
        parent = known.get(current.parent_id or "")
        st.caption(format.plain(format.made_by(current, parent)))
        with session.explained():
            told = session.figures([current])[current.id]
            # One a line: at this width a line of all three breaks anywhere.
            st.caption("  \n".join(format.plain(told.summary()).split(" · ")), help=_measured(told))


def _measured(told: Figures) -> str | None:
    return f"{score_heading([told.metrics])}: {format.plain(told.conditions)}." if told.conditions else None


def _pick() -> None:
    if chosen := st.session_state["model_picker"]:
        session.open_model(chosen)


def _show_running(expected: bool) -> None:
    with session.explained():
        jobs.reconcile(store())
        active = store().jobs(ACTIVE_STATES)
        for job in reversed(active[-3:]):
            _show_one(job)
        if len(active) > 3:
            st.caption(f"and {len(active) - 3} more")
        if expected and not active:
            st.rerun()


def _show_one(job: Job) -> None:
    word, colour, _ = format.STATES[job.state]
    with st.container(border=True, gap="small"):
        st.markdown(f"**{format.plain(job.title)}**")
        at = jobs.progress(store(), job)
        if at.percent is not None:
            left = f", {format.duration(at.seconds_left)} left" if at.seconds_left else ""
            st.progress(at.percent / 100, text=f"{word}{left}")
        else:
            st.badge(word, color=colour)
        st.page_link(
            PAGES / "jobs.py", label="Show the job", icon=":material/monitoring:", query_params={"job": job.id}
        )

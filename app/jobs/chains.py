"""The chain that a job belongs to: its steps with their states, each a way to its job."""

from __future__ import annotations

import streamlit as st

from app.frame.session import explained, store
from app.jobs.starting import verb_word
from app.words import format
from engine import jobs
from engine.base.errors import JobError
from engine.jobs import ChainStatus, ChainStep
from engine.workspace.store import Job

_WAITING: tuple[str, format.Colour, str] = ("Waiting", "gray", ":material/schedule:")
_POLL_S = 2.0


def show_chain(job: Job) -> None:
    """Show the chain of a job, if it is part of one, and follow it until it ends or stops."""
    if job.chain_id is None:
        return
    try:
        moving = is_moving(jobs.chain_status(store(), job.chain_id))
    except JobError:
        return
    # Its own timer: a chain goes on after the job on show has ended.
    st.fragment(_show, run_every=_POLL_S if moving else None)(job.chain_id, job.id, moving)


def is_moving(status: ChainStatus) -> bool:
    """Whether a chain goes on by itself."""
    return not status.finished and status.failed_step is None


def step_label(number: int, step: ChainStep) -> str:
    """Return '2. Pruning', with its state where that is more than an icon can say: '3. Fine-tuning · Failed'."""
    label = f"{number}. {verb_word(step.verb)}"
    return label if step.state in ("done", "waiting") else f"{label} · {_state(step)[0]}"


def is_restarted_with_its_chain(job: Job) -> bool:
    """Whether a chain stopped at this job, so that going on is a matter of the whole chain."""
    if job.chain_id is None:
        return False
    try:
        status = jobs.chain_status(store(), job.chain_id)
    except JobError:
        return False
    return status.failed_step is not None and status.steps[status.failed_step - 1].job_id == job.id


def _state(step: ChainStep) -> tuple[str, format.Colour, str]:
    return format.STATES.get(step.state, _WAITING)


def _show(chain_id: str, job_id: str, expected_moving: bool) -> None:
    with explained(stop=True):
        jobs.reconcile(store())
        status = jobs.chain_status(store(), chain_id)
    if expected_moving and not is_moving(status):
        st.rerun()
    with st.container(border=True, gap="small"):
        st.caption(f"Recipe **{format.plain(status.title)}**")
        with st.container(horizontal=True, gap="small"):
            for number, step in enumerate(status.steps, start=1):
                _show_step(chain_id, number, step, current=step.job_id == job_id)
        if status.failed_step is not None:
            _offer_restart(chain_id, status.failed_step, status.steps[status.failed_step - 1].verb)


def _show_step(chain_id: str, number: int, step: ChainStep, *, current: bool) -> None:
    word, _, icon = _state(step)
    if step.job_id is None:
        help_text = f"{word}; there is no job to open."
    else:
        help_text = f"{word}. This is the job below." if current else f"{word}. Opens the job of this step."
    if (
        st.button(
            f":primary[**{step_label(number, step)}**]" if current else step_label(number, step),
            key=f"step {chain_id} {number}",
            icon=icon,
            disabled=step.job_id is None,
            help=help_text,
        )
        and step.job_id is not None
    ):
        st.query_params["job"] = step.job_id
        st.rerun()


def _offer_restart(chain_id: str, failed_step: int, verb: str) -> None:
    if st.button(
        f"Restart at step {failed_step}, {verb_word(verb).lower()}",
        key=f"restart {chain_id}",
        type="primary",
        icon=":material/restart_alt:",
        help="Goes on where the recipe stopped: resumes that job if it has an epoch to go on from, else repeats it. "
        "The steps before it stay as they are.",
    ):
        with explained():
            st.query_params["job"] = jobs.restart_chain(store(), chain_id).id
            st.rerun()

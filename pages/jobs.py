"""Jobs: what runs, what waits, what became of the rest; one of them in detail."""

from functools import partial

import pandas as pd
import streamlit as st

from app.frame.session import PAGES, explained, store
from app.jobs.live import show_job
from app.jobs.starting import place_words, verb_word
from app.words import format
from engine import jobs
from engine.base.tasks import score_heading
from engine.workspace.store import ACTIVE_STATES, Job

MARK = "►"
"Before the job that is shown in detail."


def percent_of(job: Job) -> float | None:
    if job.finished:
        return 100 if job.state == "done" else None
    return jobs.progress(store(), job).percent or 0


def state_of(job: Job) -> str:
    place = store().queue_position(job.id) if job.state == "queued" else None
    word = format.STATES[job.state][0]
    return f"{word}, {place_words(place)}" if place and job.devices else word


def jobs_table(listed: list[Job], in_detail: str | None) -> pd.DataFrame:
    measured = [job.result.metrics if job.result else {} for job in listed]
    heading = score_heading(measured)
    return pd.DataFrame(
        {
            "": [MARK if job.id == in_detail else "" for job in listed],
            "Job": [job.title for job in listed],
            "State": [state_of(job) for job in listed],
            "Progress": [percent_of(job) for job in listed],
            "What": [verb_word(job.verb) for job in listed],
            heading: [format.judged(metrics, heading) for metrics in measured],
            "Ran for": [format.duration(format.run_time(job)) for job in listed],
            "Created": [format.ago(job.created_at) for job in listed],
        }
    )


def pick_row(key: str, ids: list[str]) -> None:
    if rows := st.session_state[key].selection.rows:
        st.query_params["job"] = ids[rows[0]]


def show_table(expected_active: bool) -> None:
    jobs.reconcile(store())
    listed = store().jobs()
    ids = [job.id for job in listed]
    # A ticked row is kept by its number: another list has a table of its own, or the tick would pass to another job.
    key = f"jobs table {len(ids)} {ids[0] if ids else ''}"
    st.dataframe(
        jobs_table(listed, st.session_state.get("job in detail")),
        hide_index=True,
        height=min(38 + 35 * len(listed), 300),
        key=key,
        on_select=partial(pick_row, key, ids),
        selection_mode="single-row",
        column_config={
            "": st.column_config.TextColumn(width=30, help="Shown in detail below."),
            # Names are long; state and progress must be in sight where there is little room.
            "Job": st.column_config.TextColumn(width=250),
            "State": st.column_config.TextColumn(width=120),
            "Progress": st.column_config.ProgressColumn(format="%d%%", min_value=0, max_value=100, width=95),
        },
    )
    if st.query_params.get("job") != st.session_state.get("job in detail"):
        st.rerun()
    if expected_active and not any(job.state in ACTIVE_STATES for job in listed):
        st.rerun()


st.title("Jobs")
with explained(stop=True):
    listed = store().jobs()
if not listed:
    with st.container(border=True):
        st.markdown("**No job yet.** Training, fine-tuning and exports run in the background and are listed here.")
        st.page_link(PAGES / "prune.py", label="Prune and fine-tune a model", icon=":material/content_cut:")
        st.page_link(PAGES / "train.py", label="Start sparse training", icon=":material/model_training:")
        st.page_link(PAGES / "recipes.py", label="Run a recipe from start to end", icon=":material/menu_book:")
    st.stop()

job_id = st.query_params.get("job") or next((job.id for job in listed if not job.finished), listed[0].id)
st.query_params["job"] = st.session_state["job in detail"] = job_id
active = any(not job.finished for job in listed)
st.fragment(show_table, run_every=2.0 if active else None)(active)
with st.container(border=True):
    show_job(job_id)

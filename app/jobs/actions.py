"""What can be done with a job: stop, resume, try again, save as a recipe, delete."""

from __future__ import annotations

import streamlit as st

from app.frame.session import explained, store
from app.jobs.chains import is_restarted_with_its_chain
from engine import jobs
from engine.base.errors import WorkbenchError
from engine.base.files import safe_name
from engine.recipes import Recipe, Step, recipe_from_job, recipe_to_yaml
from engine.workspace.store import Job


def offer_stop(job: Job) -> None:
    """Show how to end a job that has not ended."""
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


def offer_afterwards(job: Job) -> None:
    """Show what can be done with a job that has ended."""
    if not is_restarted_with_its_chain(job):
        if jobs.can_resume(store(), job):
            _offer_resume(job)
        _offer_retry(job)
    with st.popover("Delete", icon=":material/delete:", help="Removes the job and its files."):
        st.markdown("Removes the job, its log and the files in its folder. Models it made stay in the workspace.")
        if st.button("Delete the job", key=f"delete {job.id}", type="primary"):
            with explained():
                jobs.delete(store(), job.id)
                st.query_params.pop("job", None)
                st.rerun()


def _offer_retry(job: Job) -> None:
    done = job.state == "done"
    if st.button(
        "Run again" if done else "Try again",
        key=f"retry {job.id}",
        icon=":material/replay:",
        help="Starts a new job with the same settings, from the beginning.",
    ):
        with explained():
            again = jobs.retry(store(), job.id)
            st.query_params["job"] = again.id
            st.rerun()


def _offer_resume(job: Job) -> None:
    if st.button(
        "Resume",
        key=f"resume {job.id}",
        type="primary",
        icon=":material/resume:",
        help="Goes on after the last finished epoch, in the same job.",
    ):
        with explained():
            jobs.resume(store(), job.id)
            st.rerun()


def offer_recipe(job: Job) -> None:
    """Offer the settings of a job, or of the whole chain it belongs to, as a recipe for the Recipes page."""
    try:
        recipe = recipe_of(job)
    except WorkbenchError:
        return  # nothing that would run as a recipe, such as a comparison alone
    st.download_button(
        "Save as recipe",
        data=recipe_to_yaml(recipe),
        file_name=f"{safe_name(recipe.name if job.chain_id else job.title)}.yaml",
        mime="text/yaml",
        on_click="ignore",
        key=f"recipe {job.id}",
        icon=":material/menu_book:",
        help=f"{'All steps of its recipe' if job.chain_id else 'These settings'} as a YAML file, to run them on "
        "another model.",
    )


def recipe_of(job: Job) -> Recipe:
    """Return the recipe that a job is a step of, else one of the job alone.

    Raises:
        RecipeError: No recipe can hold what the job does.
        JobError: Its chain is gone.
    """
    if job.chain_id is None:
        return recipe_from_job(job.verb, job.spec)
    recipe = store().chain(job.chain_id).recipe
    steps = tuple(Step(step["verb"], step.get("settings") or {}) for step in recipe["steps"])
    return Recipe(name=recipe.get("name") or "Recipe", steps=steps)

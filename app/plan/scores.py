"""How channels are scored, as widgets; where a criterion looks at images, the job that computes its scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from app.data.choosing import choose_data, dataset_info
from app.frame.session import explained, store
from app.jobs.measure_button import Measurement, offer_measuring, remember
from app.words import format
from app.words.fields import choice, labelled, numeric, setting
from engine import jobs
from engine.base.errors import WorkbenchError
from engine.datasets.fit import REFUSED, data_facts, fit_for_measuring
from engine.profile.gammas import summarise_gammas
from engine.pruning.planning import ProfilePlanner
from engine.settings.choices import CRITERIA, IMAGE_CRITERIA, USUAL_CRITERION
from engine.settings.fields import Setting
from engine.validation.scores import FOLDER, ScoringImages, choose_images, read_scores, scores_path, usual_criterion
from engine.verbs.pruning import PlanArguments
from engine.workspace.data import family_data
from engine.workspace.store import Job, Model

_HELP = "Looks at the gradients of the loss on training images, in the background. Kept for later."


def _field(name: str) -> Setting:
    return setting("prune", name)


def choose_scores(model: Model, usual: str, sensitivity: Path | None = None) -> dict[str, Any]:
    """Show how channels are scored, folded away, and return it under the verb's names.

    Args:
        model: What is pruned.
        usual: Criterion where nobody chose one, see ``usual_for``.
        sensitivity: File of the model's measured sensitivity, where there is one.
    """
    with st.expander("Scores", icon=":material/sort:"):
        grid = st.grid(4, min_column_width=170)
        criterion = grid.selectbox(
            **labelled(_field("criterion"), "\n".join(f"- {entry.label}: {entry.text}" for entry in CRITERIA.values())),
            options=list(CRITERIA),
            index=None,
            placeholder=f"Automatic: {CRITERIA[usual].label}",
            format_func=lambda name: CRITERIA[name].label,
            key="criterion",
        )
        spec: dict[str, Any] = {
            "criterion": criterion or usual,
            "aggregate": grid.selectbox(**choice(_field("aggregate")), key="aggregate"),
            "per_layer": grid.toggle(**labelled(_field("per_layer")), key="per layer"),
            "per_flop": grid.toggle(**labelled(_field("per_flop")), key="per flop"),
        }
        spared = st.toggle(
            _field("sensitivity").label,
            key="spare",
            disabled=sensitivity is None,
            help=f"{_field('sensitivity').option.more} "
            + ("Measure the sensitivity first, below." if sensitivity is None else "See the heat map below."),
        )
        if spec["criterion"] in IMAGE_CRITERIA:
            spec["data"] = choose_data(model, "scores")
            spec["score_images"] = st.number_input(
                **numeric(_field("score_images")), value=_field("score_images").default, key="score images"
            )
        return {**spec, "sensitivity": str(sensitivity)} if spared and sensitivity else spec


def usual_for(model: Model, opened: ProfilePlanner) -> str:
    """Return the criterion where nobody chose one: by the data set of the model's family, if that is still there."""
    known = family_data(store(), model)
    path = store().folder / "datasets" / "demo" / "data.yaml" if known == "demo" else known
    if path is None or (known == "demo" and not Path(path).exists()):
        return USUAL_CRITERION
    try:
        facts, info = opened.facts, dataset_info(str(path), opened.facts.task)
        fits = fit_for_measuring(facts.fitting, data_facts(info)).verdict != REFUSED
        sparse = summarise_gammas(opened.profile.gammas).sparse
        return usual_criterion(facts.task, info, sparse=sparse, fits=fits)
    except WorkbenchError:
        return USUAL_CRITERION


@st.cache_data(max_entries=8, ttl=60, show_spinner="Reading the images to score on…")
def _images(path: str, task: str, count: int) -> ScoringImages:
    return choose_images(dataset_info(path, task), count)


def with_known_scores(opened: ProfilePlanner, asked: PlanArguments, spec: dict[str, Any]) -> PlanArguments | None:
    """Return what a plan is made from with the scores that were computed for it; None where they were not yet.

    Raises:
        DatasetError: The data set cannot be used.
    """
    if asked.importance.criterion not in IMAGE_CRITERIA:
        return asked
    if spec["data"] is None:
        return None
    images = _images(spec["data"], opened.facts.task, spec["score_images"])
    named = replace(asked.importance, images=images.digest)
    path = scores_path(store().folder / FOLDER, opened.digest, named.criterion, images.digest)
    found = read_scores(path, [layer.channels for layer in opened.graph.layers])
    if found is None:
        return None
    opened.learn(named, found)
    return replace(asked, importance=named)


def offer_scores(model: Model, spec: dict[str, Any], *, known: bool) -> None:
    """Say what ranks the channels where that is a criterion that looks at images; offer to compute its scores."""
    if spec["criterion"] not in IMAGE_CRITERIA:
        return
    label = CRITERIA[spec["criterion"]].label
    if spec["data"] is None:
        st.caption(f"Channels go **by gamma**: {label} looks at images, so choose a data set under Scores.")
        return
    on = f"{spec['score_images']} training images of {Path(spec['data']).parent.name}"
    if known:
        st.caption(format.plain(f"Channels go by {label}, on {on}."))
        return
    said = f"Channels go by gamma until their scores by {label} are there, on {on}."
    measurement = Measurement("preview", "Compute the scores", _HELP, lambda job: _computes(job, spec))
    offer_measuring(measurement, model, said, lambda: _start_and_follow(model, spec))


def start_scoring(model: Model, spec: dict[str, Any]) -> Job:
    """Start the job that computes the scores of a model's channels. Raises JobError."""
    told = {key: spec[key] for key in ("criterion", "data", "score_images")}
    told |= {"weights": str(model.path), "prune_ratio": 0.0}
    job = jobs.submit(store(), "preview", told, f"Scores of {model.name}", model.id)
    remember(job, model)
    return job


def _start_and_follow(model: Model, spec: dict[str, Any]) -> None:
    with explained(stop=True):
        start_scoring(model, spec)
    st.rerun()


def _computes(job: Job, spec: dict[str, Any]) -> bool:
    return all(job.spec.get(key) == spec[key] for key in ("criterion", "data", "score_images"))

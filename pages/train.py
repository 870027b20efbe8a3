"""Train: sparse training, normal training, fine-tuning and validation, each as a job."""

from typing import Any

import streamlit as st

from app.data.choosing import choose_data
from app.data.fit import NOT_YET, goes_together
from app.frame.session import PAGES, explained, gammas, planner, require_model, store
from app.jobs.starting import dense_ancestor, start_training, training_length
from app.training.more_settings import choose_arguments
from app.training.reach import show_outlook, training_images
from app.training.settings import advanced_settings, choose_preset, optimizer_settings, own_size, run_settings
from app.training.sparsity import STRENGTH_KEY, choose_sparsity
from app.words import format
from app.words.fields import setting
from engine.base.tasks import TASKS
from engine.profile.gammas import summarise_gammas
from engine.pruning.planning import ProfilePlanner
from engine.settings.requests import SparsifyRequest
from engine.verbs.training import sparsity_settings
from engine.workspace.store import Model

KINDS = {"sparsify": "Sparse training", "train": "Normal training", "finetune": "Fine-tuning", "val": "Validation"}
PURPOSES = {
    "sparsify": "Trains on and drives the gammas of unimportant channels to zero, so that pruning can tell them apart.",
    "train": "Plain training from the current weights, without any penalty on gammas.",
    "finetune": "Wins back accuracy after pruning: a lower learning rate, and the model keeps its pruned shape.",
    "val": "Measures how accurate the model is on a split; nothing is trained.",
}


def training_settings(kind: str, model: Model, opened: ProfilePlanner) -> dict[str, Any] | None:
    """Show the settings of a training and return them, None while they cannot work."""
    epochs, lr0 = (setting(kind, name).default for name in ("epochs", "lr0"))
    key = f"train {kind}"
    choose_preset(key, epochs=epochs)
    aim: dict[str, Any] | None = {}
    if kind == "sparsify":
        with st.container(border=True):
            aim = choose_sparsity(opened)
    spec = run_settings(key, **own_size(opened), epochs=epochs, columns=2, persist="session")
    spec |= optimizer_settings(key, lr0=lr0, persist="session")
    advanced = advanced_settings(key, kind, spec, persist="session")
    if kind == "finetune":
        if TASKS[opened.facts.task].boxes:  # Ultralytics distils no other models
            spec |= choose_teacher(model)
    return None if aim is None or advanced is None else {**aim, **spec, **advanced}


def choose_teacher(model: Model) -> dict[str, Any]:
    ancestor = dense_ancestor(store().lineage(model.id))
    if ancestor is None:
        return {}
    distil = st.toggle(
        f"Distill from {format.plain(ancestor.name)}",
        key=f"distil {model.id}",
        persist_state="session",
        help=setting("finetune", "teacher").option.more,
    )
    return {"teacher": str(ancestor.path)} if distil else {}


def validation_settings(opened: ProfilePlanner) -> dict[str, Any] | None:
    spec = run_settings("train val", **own_size(opened), epochs=None, persist="session")
    spec["split"] = st.segmented_control(
        "Split",
        ["val", "test", "train"],
        default=setting("val", "split").default,
        required=True,
        key="split",
        persist_state="session",
        help=setting("val", "split").sentence,
    )
    with st.expander("Advanced", icon=":material/tune:"):
        arguments = choose_arguments("train val", "val", spec, "session")
    return None if arguments is None else spec | arguments


def foretell(model: Model, spec: dict[str, Any], data: str) -> None:
    with explained(stop=True):
        summary = summarise_gammas(gammas(model))
        asked = SparsifyRequest.read({**spec, "weights": str(model.path), "data": data})
        length = training_length(spec, training_images(data))
        show_outlook(sparsity_settings(asked), length, summary, STRENGTH_KEY)
    if spec["batch"] < 1:
        st.caption("Reckoned with batches of 16 images; the number itself is chosen when the run starts.")


st.title("Train")
model = require_model("Here you start sparse training, fine-tuning or a validation; each runs in the background.")
with explained(stop=True):
    opened = planner(model)
kind = st.segmented_control(
    "Kind",
    list(KINDS),
    default="finetune" if model.kind == "pruned" else "sparsify",
    required=True,
    format_func=KINDS.__getitem__,
    key=f"kind {model.id}",
    persist_state="session",
    label_visibility="collapsed",
    help="What to run on the current model.",
)
st.markdown(PURPOSES[kind])
grid = st.grid(2, min_column_width=340)
left, right = grid.container(), grid.container()
with right:
    data = choose_data(model, "train", details=True)
with left:
    spec = validation_settings(opened) if kind == "val" else training_settings(kind, model, opened)
if kind == "sparsify" and spec and data:
    with right:
        foretell(model, spec, data)
# Below both columns: where they stand one above the other, the data set comes before the press that needs it.
agreed = data is None or goes_together(opened, data, kind, spec)
if (
    st.button(
        f"Start {KINDS[kind].lower()}",
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=data is None or spec is None or not agreed,
        help="Runs in the background; you may leave the page.",
    )
    and spec is not None
):
    with explained(stop=True):
        job = start_training(kind, model, {"data": data, **spec})
    st.switch_page(PAGES / "jobs.py", query_params={"job": job.id, "model": model.id})
if data is None:
    st.caption("Choose a data set first.")
elif spec is None:
    st.caption("Mend first what is marked in red above.")
elif not agreed:
    st.caption(NOT_YET)

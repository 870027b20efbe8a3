"""Recipes: read an uploaded one, say in words what it does, and run it on a model as a chain of jobs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from app.data.fit import goes_together
from app.frame.session import planner, store
from app.jobs.starting import verb_word
from engine import jobs
from engine.base import numbers
from engine.base.files import safe_name
from engine.checkpoints.child import Bounds, run_in_child
from engine.recipes import Recipe, Step, load_recipe, recipe_to_yaml
from engine.settings import verb_facts
from engine.workspace.store import Chain, Model

_BOUNDS = Bounds(memory_bytes=4_000_000_000, confined=False)
"It looks at a data set and a model that was opened before."


@st.cache_data(max_entries=8, show_spinner=False)
def read_upload(name: str, content: bytes) -> Recipe:
    """Return the recipe of an uploaded file; raises RecipeError, which names the file and the mistake."""
    given = Path(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{safe_name(given.stem)}{given.suffix.lower()}"
        path.write_bytes(content)
        return load_recipe(path)


def start_recipe(recipe: Recipe, model: Model, data: str | None, device: str) -> Chain:
    """Run a recipe on a model as a chain of jobs, and return the chain.

    Raises:
        WorkbenchError: Some step could not do what the recipe says; the message names it.
        JobError: The model is gone, or the first worker cannot be started.
    """
    asked = {"recipe": recipe_to_yaml(recipe), "weights": str(model.path.absolute()), "data": data, "device": device}
    run_in_child("engine.verbs.recipe:told_check", asked, model.name, bounds=_BOUNDS)
    base = {"weights": str(model.path), "data": data, "device": device}
    return jobs.start_chain(store(), recipe.as_dict(), f"{model.name}, {recipe.name}", model.id, base)


def needs_data(recipe: Recipe) -> bool:
    """Whether any step looks at images."""
    return any(verb_facts.needs_data(step.verb, step.settings) for step in recipe.steps)


def recipe_goes_together(recipe: Recipe, model: Model, data: str) -> bool:
    """Show how a model and a data set go together in the first step that looks at labels; return whether it may start.

    Measurements that come before any training are refused with the step's name when the recipe is started.
    """
    trains = next((number for number, step in enumerate(recipe.steps) if step.verb in verb_facts.TRAINING), None)
    if trains is None:
        return not needs_data(recipe) or goes_together(planner(model), data, "val")
    pruned, step = any(step.verb == "prune" for step in recipe.steps[:trains]), recipe.steps[trains]
    return goes_together(planner(model), data, step.verb, step.settings, pruned=pruned)


def step_words(step: Step) -> str:
    """Return what a step does, such as 'Sparse training: 50 epochs, ratio 0.5; batch 4'."""
    settings = dict(step.settings)
    told = [*_length(settings), *_aim(settings, "budget_imgsz" if step.verb == "sparsify" else "imgsz")]
    if settings.pop("distill", False):
        told.append("the original as teacher")
    if step.verb == "compare":
        told.append("with the original and each other")
    others = ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in settings.items())
    details = "; ".join(filter(None, (", ".join(told), others)))
    return f"{verb_word(step.verb)}: {details}" if details else verb_word(step.verb)


def _length(settings: dict[str, Any]) -> list[str]:
    epochs = settings.pop("epochs", None)
    return [] if epochs is None else [f"{epochs} epoch{'' if epochs == 1 else 's'}"]


def _aim(settings: dict[str, Any], sized_by: str) -> list[str]:
    """Return how much is removed, or how hard gammas are pulled; what was told is taken out of the settings.

    Args:
        settings: Of the step.
        sized_by: Which of them is the image size that its GFLOPs are counted at.
    """
    aim = []
    if (method := settings.pop("method", None)) is not None:
        aim.append(f"{method} method")
    if (ratio := settings.pop("prune_ratio", None)) is not None:
        aim.append(f"ratio {ratio:g}")
    if (params := settings.pop("max_params", None)) is not None:
        aim.append(f"at most {numbers.count(params)} parameters")
    if (gflops := settings.pop("max_gflops", None)) is not None:
        aim.append(f"at most {numbers.gflops_at(gflops, settings.get(sized_by) or numbers.GFLOPS_IMGSZ)}")
    if (strength := settings.pop("sr", None)) is not None:
        aim.append(f"strength {strength:g}")
    return aim


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

"""What a step of a recipe is told: one rule for the terminal, which runs the steps itself, and for chains of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.settings.results import Result
from engine.settings.verb_facts import TAKES_DATA, TAKES_DEVICE


def step_spec(
    verb: str,
    settings: Mapping[str, Any],
    base: str,
    made: Sequence[str] = (),
    *,
    data: str | None = None,
    device: str | None = None,
    recipe_device: str | None = None,
) -> dict[str, Any]:
    """Return the specification of a step.

    Args:
        verb: what it does.
        settings: its own settings.
        base: the model that the recipe starts from; a model YAML where the first step trains from scratch.
        made: the models that the steps before it made, in order. It works on the last of them.
        data: the data set, for verbs that take one.
        device: of the whole run; wins over the step's own.
        recipe_device: the recipe's own, where neither run nor step names one.
    """
    spec = {key: value for key, value in settings.items() if key not in ("distill", "device")}
    spec |= {"weights": made[-1] if made else base, "chain": {"base": base, "made": list(made)}}
    known = [] if is_description(base) else [base]
    if verb in TAKES_DATA and data:
        spec["data"] = data
    if verb in TAKES_DEVICE and (chosen := step_device(settings, device, recipe_device)):
        spec["device"] = chosen
    if verb == "compare":
        spec["weights"] = [*known, *made]
    if verb in ("compare", "finetune") and known:
        spec["reference"] = base
    if verb == "finetune" and settings.get("distill"):
        spec["teacher"] = base
    return spec


def step_device(settings: Mapping[str, Any], device: str | None, recipe_device: str | None) -> str | None:
    """Return the device of a step: the run's, else its own, else the recipe's; None leaves it to the verb."""
    return device or settings.get("device") or recipe_device


def made_models(results: Iterable[Result]) -> list[str]:
    """Return the models that these results of steps want registered, in order."""
    return [artefact.path for result in results for artefact in result.artefacts if artefact.is_model]


def is_description(weights: str) -> bool:
    """Return whether this is a model YAML to train from scratch, not a checkpoint."""
    return weights.endswith((".yaml", ".yml"))

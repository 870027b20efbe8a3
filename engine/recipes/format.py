"""Recipes as text: read, check, write.

    name: Careful
    weights: best.pt        # optional, as are data and device; relative paths are relative to the recipe file
    steps:
      - sparsify: {epochs: 50, prune_ratio: 0.5}
      - prune: {prune_ratio: 0.5}
      - finetune: {epochs: 50, distill: true}
      - compare

The settings of a step are those of the same verb on the terminal, with underscores, and are checked against the same
table, ``engine.settings``. ``distill`` stands for a teacher: the model that the recipe starts from, and
``ultralytics`` for further arguments of Ultralytics: ``ultralytics: {mosaic: 0.5, freeze: 10}``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from engine.base.documents import DocumentError, parse_yaml, read_bytes
from engine.base.errors import WorkbenchError
from engine.base.files import expanded
from engine.settings.fields import NUMBER, SWITCH, TEXT, Kind, Setting, SettingsError, fields_of, shown, unknown
from engine.settings.parser import ARGUMENTS
from engine.settings.requests import request_of
from engine.settings.verb_facts import MODEL_MAKERS, STEP_VERBS

SUPPLIED = frozenset(
    "help json weights data download save_dir project name exist_ok reference resume teacher chain".split()
)
"What a step does not set, because the run knows it."
MOST_BYTES = 64 * 1024
MOST_STEPS = 100
_KEYS = ("name", "description", "weights", "data", "download", "device", "steps")
_SHIPPED = ("quick-look", "careful", "small-gpu")


class RecipeError(WorkbenchError):
    """A recipe cannot be read, or asks for what does not exist."""


@dataclass(frozen=True)
class Step:
    """One verb with its settings."""

    verb: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    "The terminal's options with underscores; ``distill`` besides, in finetune, and a mapping ``ultralytics``."


@dataclass(frozen=True)
class Recipe:
    """Steps that run one after another, each on the model that the last one made."""

    name: str
    description: str = ""
    steps: tuple[Step, ...] = ()
    weights: str | None = None
    data: str | None = None
    download: bool = False
    "Whether the images of a data set that Ultralytics ships a description of may be downloaded."
    device: str | None = None
    "For steps without a device of their own."

    def as_dict(self) -> dict[str, Any]:
        """Return name and steps as JSON-able values."""
        steps = [{"verb": step.verb, "settings": dict(step.settings)} for step in self.steps]
        return {"name": self.name, "steps": steps}


# Reading


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file; its weights and data become absolute paths.

    Raises:
        RecipeError: the file cannot be read or is no recipe.
    """
    path = expanded(path)
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError as error:
        known = ", ".join(_SHIPPED)
        raise RecipeError(f"There is no recipe {path}; give a YAML file, or one of {known}.") from error
    except DocumentError as error:
        raise RecipeError(f"{path.name} {error}, so it is no recipe; give another file.") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"The recipe {path} cannot be read; give the path of a YAML file.") from error
    recipe = recipe_from_dict(_parsed(content, path.name), default_name=path.stem)
    folder = path.absolute().parent
    return replace(recipe, weights=_located(recipe.weights, folder), data=_located(recipe.data, folder))


def open_recipe(name_or_path: str) -> Recipe:
    """Return a shipped recipe by its name, such as ``quick-look``, or the recipe of a file."""
    return load_recipe(shipped_names().get(name_or_path, name_or_path))


def shipped_names() -> dict[str, Path]:
    """Return the names of the recipes that come with the workbench, and their files."""
    return {name: Path(__file__).with_name(f"{name}.yaml") for name in _SHIPPED}


def shipped_recipes() -> list[Recipe]:
    """Return the recipes that come with the workbench, the shortest first."""
    return [load_recipe(path) for path in shipped_names().values()]


def recipe_from_dict(content: Any, default_name: str = "Recipe") -> Recipe:
    """Check what a YAML parser returned, and return the recipe.

    Raises:
        RecipeError: names the step and the key that is wrong.
    """
    if not isinstance(content, dict):
        raise RecipeError("A recipe is a list of keys such as name and steps; this file holds something else.")
    _refuse_unknown(content, _KEYS, "The recipe")
    steps = content.get("steps")
    if not isinstance(steps, list) or not steps:
        raise RecipeError("The recipe has no steps; list at least one, such as - prune: {prune_ratio: 0.5}.")
    if len(steps) > MOST_STEPS:
        raise RecipeError(f"The recipe has {len(steps)} steps; {MOST_STEPS} is the most.")
    checked = tuple(_step(entry, number) for number, entry in enumerate(steps, start=1))
    _refuse_too_early(checked)
    return Recipe(
        name=_text(content, "name") or default_name,
        description=_text(content, "description") or "",
        steps=checked,
        weights=_text(content, "weights"),
        data=_text(content, "data"),
        download=_taken("The recipe", "download", content.get("download", False), SWITCH),
        device=_text(content, "device"),
    )


def recipe_from_job(verb: str, spec: Mapping[str, Any], name: str | None = None) -> Recipe:
    """Return a recipe of one step with a job's settings; what belongs to that one job, or machine, is left out.

    Raises:
        RecipeError: the verb cannot be a step, or the settings are not ones that the terminal takes.
    """
    _check_verb(verb, 1)
    known = step_settings(verb)
    settings = {
        key: value for key, value in spec.items() if key in known and key != "device" and _is_said(value, known[key])
    }
    if spec.get("teacher"):
        settings["distill"] = True
    return recipe_from_dict({"name": name or verb.capitalize(), "steps": [{verb: settings}]})


def recipe_to_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML that reads back as the same recipe."""
    content = {key: getattr(recipe, key) for key in _KEYS[:-1] if getattr(recipe, key)}
    content["steps"] = [{step.verb: dict(step.settings)} if step.settings else step.verb for step in recipe.steps]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=float("inf"))


# Settings, as the table has them


def step_settings(verb: str) -> dict[str, Setting]:
    """Return the settings of a verb that a step may set."""
    return {name: setting for name, setting in fields_of(request_of(verb)).items() if name not in SUPPLIED}


def _step(entry: Any, number: int) -> Step:
    verb, settings = _verb_and_settings(entry, number)
    _check_verb(verb, number)
    where = f"Step {number} ({verb})"
    if not isinstance(settings, dict):
        raise RecipeError(f"{where} has settings that are no list of keys; write {verb}: {{key: value}}.")
    if "distill" in settings and verb != "finetune":
        raise RecipeError(f"{where} has distill, which only finetune knows; leave it out.")
    if supplied := sorted(SUPPLIED.intersection(map(str, settings))):
        raise RecipeError(f"{where} sets {supplied[0]}, which the run itself decides; leave it out.")
    known = step_settings(verb)
    _refuse_unknown(settings, (*known, *(("distill",) if verb == "finetune" else ())), where)
    return Step(verb, {key: _value(where, key, value, known.get(key)) for key, value in settings.items()})


def _verb_and_settings(entry: Any, number: int) -> tuple[Any, Any]:
    if isinstance(entry, dict) and len(entry) == 1:
        verb, settings = next(iter(entry.items()))
        return verb, {} if settings is None else settings
    if isinstance(entry, str):
        return entry, {}
    raise RecipeError(f"Step {number} is not one verb with its settings; write - prune: {{prune_ratio: 0.5}}.")


def _check_verb(verb: Any, number: int) -> None:
    if verb not in STEP_VERBS:
        raise RecipeError(f"Step {number} is {shown(verb)}, which is no step; use one of {', '.join(STEP_VERBS)}.")


def _refuse_too_early(steps: tuple[Step, ...]) -> None:
    """Refuse a comparison before there is a second model."""
    verbs = [step.verb for step in steps]
    if "compare" in verbs and not set(verbs[: verbs.index("compare")]) & set(MODEL_MAKERS):
        raise RecipeError(
            f"Step {verbs.index('compare') + 1} (compare) has nothing to compare yet; put it after a step that makes "
            f"a model ({', '.join(MODEL_MAKERS)})."
        )


def _refuse_unknown(content: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in content:
        if key not in known:
            raise RecipeError(f"{where} {unknown(key, known)}")


def _value(where: str, key: str, value: Any, setting: Setting | None) -> Any:
    """Return a setting's value in the type that the terminal would give it; ``distill`` is none of the table's."""
    if setting is None:
        return _taken(where, key, value, SWITCH)
    if setting.name == ARGUMENTS:
        return _arguments(where, value)
    if value == []:
        raise RecipeError(f"{where} has {key}: {shown(value)}; it must be a list with at least one entry.")
    try:
        if value is None:
            raise SettingsError(setting.refusal(value))
        return setting.checked(value)
    except SettingsError as error:
        raise RecipeError(f"{where} has {key}: {error}.") from error


def _arguments(where: str, value: Any) -> dict[str, Any]:
    """Return further arguments of Ultralytics; whether it knows them is looked at before a run, not here."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RecipeError(
            f"{where} has {ARGUMENTS}: {shown(value)}; it must be a group of Ultralytics arguments, {{mosaic: 0.5}}."
        )
    for entry in value.values():
        for each in entry if isinstance(entry, list) else [entry]:
            if not (each is None or isinstance(each, bool)):
                _taken(where, ARGUMENTS, each, NUMBER if isinstance(each, float) else TEXT)
    return value


def _taken(where: str, key: str, value: Any, kind: Kind) -> Any:
    try:
        return kind.take(value)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{where} has {key}: {shown(value)}; it must be {kind.words}.") from error


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    if key == "description" and isinstance(value, str) and "\n" in value:  # YAML's way of writing long text
        value = " ".join(value.split())
    text: str = _taken("The recipe", key, value, TEXT)
    return text


def _is_said(value: Any, setting: Setting) -> bool:
    """Whether a job's specification decides something with this value."""
    switched_off = setting.is_switch and value is False and setting.default is False
    return not (value in (None, [], {}) or switched_off)


def _located(name: str | None, folder: Path) -> str | None:
    """Return a path relative to the recipe's folder as an absolute one; names of official models stay names."""
    if name is None or expanded(name).is_absolute():
        return name
    from engine.datasets.shipped import shipped_description

    path = folder / name
    if not os.path.exists(path) and Path(name).name == name and (_is_official(name) or shipped_description(name)):
        return name
    return str(path)


def _is_official(name: str) -> bool:
    from engine.checkpoints.official import is_official_name

    stem, _, suffix = name.rpartition(".")
    return is_official_name(f"{stem}.pt") and suffix in ("pt", "yaml")


# YAML


def _parsed(content: bytes, name: str) -> Any:
    try:
        return parse_yaml(content.decode("utf-8-sig"), references=False, repeated_keys=False)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name} is not text in UTF-8; save it again as such.") from error
    except DocumentError as error:
        raise RecipeError(f"{name} {error}; correct the file.") from error

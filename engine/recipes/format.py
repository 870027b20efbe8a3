"""Recipes as text: read, check, write.

    name: Careful
    weights: best.pt        # optional, as are data and device; relative paths are relative to the recipe file
    steps:
      - sparsify: {epochs: 50, prune_ratio: 0.5}
      - prune: {prune_ratio: 0.5}
      - finetune: {epochs: 50, distill: true}
      - compare

The settings of a step are the options that the terminal has for the same verb, with underscores; they are checked
against the terminal's own parser. ``distill`` stands for a teacher: the model that the recipe starts from, and
``ultralytics`` for further arguments of Ultralytics: ``ultralytics: {mosaic: 0.5, freeze: 10}``.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from engine.base.errors import WorkbenchError
from engine.base.files import expanded
from engine.settings.verb_facts import MODEL_MAKERS, STEP_VERBS, TAKES_ARGUMENTS

SUPPLIED = frozenset(
    "help json weights data download save_dir project name exist_ok reference resume teacher chain".split()
)
"What a step does not set, because the run knows it."
MOST_BYTES = 64 * 1024
MOST_STEPS = 100
_KEYS = ("name", "description", "weights", "data", "download", "device", "steps")
_LARGEST_INTEGER = 10**12
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
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        known = ", ".join(_SHIPPED)
        raise RecipeError(f"There is no recipe {path}; give a YAML file, or one of {known}.") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"The recipe {path} cannot be read; give the path of a YAML file.") from error
    if len(content) > MOST_BYTES:
        raise RecipeError(f"{path.name} is larger than 64 KB, so it is no recipe; give another file.")
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
        download=_switch(content, "download"),
        device=_text(content, "device"),
    )


def recipe_from_job(verb: str, spec: Mapping[str, Any], name: str | None = None) -> Recipe:
    """Return a recipe of one step with a job's settings; what belongs to that one job, or machine, is left out.

    Raises:
        RecipeError: the verb cannot be a step, or the settings are not ones that the terminal takes.
    """
    _check_verb(verb, 1)
    known = setting_options(verb)
    settings = {
        key: value for key, value in spec.items() if key in known and key != "device" and _is_said(value, known[key])
    }
    if spec.get("teacher"):
        settings["distill"] = True
    if spec.get("ultralytics") and verb in TAKES_ARGUMENTS:
        settings["ultralytics"] = spec["ultralytics"]
    return recipe_from_dict({"name": name or verb.capitalize(), "steps": [{verb: settings}]})


def recipe_to_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML that reads back as the same recipe."""
    content = {key: getattr(recipe, key) for key in _KEYS[:-1] if getattr(recipe, key)}
    content["steps"] = [{step.verb: dict(step.settings)} if step.settings else step.verb for step in recipe.steps]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=float("inf"))


# Settings, as the terminal's parser knows them


@cache
def verb_options(verb: str) -> dict[str, argparse.Action]:
    """Return every option that the terminal has for a verb, by its key."""
    from engine.settings.parser import build_parser

    verbs = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest: action for action in verbs.choices[verb]._actions if action.option_strings}


def setting_options(verb: str) -> dict[str, argparse.Action]:
    """Return the options of a verb that a step may set."""
    return {key: action for key, action in verb_options(verb).items() if key not in SUPPLIED}


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
    own = (*(("distill",) if verb == "finetune" else ()), *(("ultralytics",) if verb in TAKES_ARGUMENTS else ()))
    options = setting_options(verb)
    _refuse_unknown(settings, (*options, *own), where)
    return Step(verb, {key: _value(where, key, value, options.get(key)) for key, value in settings.items()})


def _verb_and_settings(entry: Any, number: int) -> tuple[Any, Any]:
    if isinstance(entry, dict) and len(entry) == 1:
        verb, settings = next(iter(entry.items()))
        return verb, {} if settings is None else settings
    if isinstance(entry, str):
        return entry, {}
    raise RecipeError(f"Step {number} is not one verb with its settings; write - prune: {{prune_ratio: 0.5}}.")


def _check_verb(verb: Any, number: int) -> None:
    if verb not in STEP_VERBS:
        raise RecipeError(f"Step {number} is {_shown(verb)}, which is no step; use one of {', '.join(STEP_VERBS)}.")


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
        if key in known:
            continue
        close = difflib.get_close_matches(str(key)[:80], known, 1)
        hint = f"did you mean {close[0]}?" if close else f"it knows {', '.join(sorted(known))}."
        raise RecipeError(f"{where} does not know {_shown(key)}; {hint}")


def _value(where: str, key: str, value: Any, option: argparse.Action | None) -> Any:
    """Return a setting's value in the type that the terminal would give it."""
    try:
        if key == "ultralytics":
            return _arguments(value)
        if option is None or option.nargs == 0:
            return _boolean(value)
        if option.nargs in ("+", "*") or isinstance(option, argparse._AppendAction):
            entries = value if isinstance(value, list) else [value]
            if not entries:
                raise ValueError("a list with at least one entry")
            return [_single(entry, option) for entry in entries]
        return _single(value, option)
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise RecipeError(f"{where} has {key}: {_shown(value)}; it must be {error}.") from error


def _arguments(value: Any) -> dict[str, Any]:
    """Return further arguments of Ultralytics; whether it knows them is looked at before a run, not here."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("a group of Ultralytics arguments, {mosaic: 0.5}")
    for entry in value.values():
        for each in entry if isinstance(entry, list) else [entry]:
            if isinstance(each, float):
                _number(each)
            elif not (each is None or isinstance(each, bool) or _is_integer(each)):
                _plain(each)
    return value


def _single(value: Any, option: argparse.Action) -> Any:
    if option.type is int:
        result: Any = _integer(value)
    elif option.type is float:
        result = _number(value)
    elif option.type in (None, str):
        result = _plain(str(value) if _is_integer(value) else value)
    else:
        try:
            result = option.type(str(value))
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"as --help of this verb says ({error})") from error
    if option.choices is not None and result not in option.choices:
        raise ValueError(f"one of {', '.join(map(str, option.choices))}")
    return result


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER


def _integer(value: Any) -> int:
    if not _is_integer(value):
        raise ValueError("a whole number")
    return value


def _number(value: Any) -> float:
    # YAML reads 1e-3, without a point, as text.
    if not isinstance(value, (float, str)) and not _is_integer(value):
        raise ValueError("a number")
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError("a number") from error
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return number


def _plain(value: Any) -> str:
    """Return text that is not empty and fits on one line."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value):
        raise ValueError("text on one line")
    return value


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    if key == "description" and isinstance(value, str) and "\n" in value:  # YAML's way of writing long text
        value = " ".join(value.split())
    try:
        return _plain(str(value) if _is_integer(value) else value)
    except ValueError as error:
        raise RecipeError(f"The recipe has {key}: {_shown(value)}; it must be {error}.") from error


def _switch(content: Mapping[str, Any], key: str) -> bool:
    try:
        return _boolean(content.get(key, False))
    except ValueError as error:
        raise RecipeError(f"The recipe has {key}: {_shown(content[key])}; it must be {error}.") from error


def _is_said(value: Any, option: argparse.Action) -> bool:
    """Whether a job's specification decides something with this value."""
    switched_off = isinstance(option, argparse._StoreTrueAction) and value is False
    return not (value is None or switched_off or value == [])


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


def _shown(value: Any) -> str:
    """Return a value as a person may see it in a sentence: short, on one line."""
    if isinstance(value, (dict, list)):
        return f"a {'list' if isinstance(value, list) else 'group'} of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# YAML


class _Loader(yaml.SafeLoader):
    """Safe YAML without references, which could make a small file grow without bound, and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (*name) are not used in recipes")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode):
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if repeated := [key for key, times in keys.items() if times > 1]:
                raise yaml.YAMLError(f"{repeated[0][:40]!r} stands there twice")
        return super().construct_mapping(node, deep)


def _parsed(content: bytes, name: str) -> Any:
    try:
        return yaml.load(content.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name} is not text in UTF-8; save it again as such.") from error
    except RecursionError as error:
        raise RecipeError(f"{name} is nested too deeply for a recipe; give another file.") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or (str(error) if type(error) is yaml.YAMLError else None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = f": {' '.join(str(problem).split())[:120]}" if problem else ""
        raise RecipeError(f"{name} is not valid YAML{where}{reason}; correct the file.") from error

"""Whether a data set fits a model; where it does not, what training would do about it, in sentences for a person.

Training does what Ultralytics does: a head for other classes or keypoints, or a first layer for images of other
channels, is built anew and takes over what fits. A pruned model cannot be built anew without undoing the pruning.
Measuring needs a model and a data set that go together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine.base import numbers
from engine.datasets.info import DatasetInfo
from engine.profile.facts import Keypoints, ModelFacts
from engine.settings.results import DataFit

FITS, RENAMED, REBUILT, REFUSED = "fits", "renamed", "rebuilt", "refused"
"Verdicts: nothing to ask; other names for as many classes; a part is trained anew; it cannot be done."
SINGLE_CLASS = "item"
"What Ultralytics calls the one class of a model that was trained with single_cls=True."
_SHOWN = 3


@dataclass(frozen=True)
class DataFacts:
    """What a data set shows."""

    names: tuple[str, ...]
    channels: int = 3
    keypoints: Keypoints | None = None


@dataclass(frozen=True)
class Fit:
    """How a model and a data set go together."""

    verdict: str
    "FITS, RENAMED, REBUILT or REFUSED."
    sentence: str = ""
    "What a person should know; empty where there is nothing to say."
    model_names: tuple[str, ...] = ()
    data_names: tuple[str, ...] = ()
    "As the model would see them: one where all classes count as one."

    @property
    def asks(self) -> bool:
        """Whether a person should agree before a training."""
        return self.verdict in (RENAMED, REBUILT)

    def told(self) -> DataFit:
        """Return the same as results tell it."""
        return DataFit(**asdict(self))


def data_facts(info: DatasetInfo) -> DataFacts:
    """Return what a checked data set shows."""
    return DataFacts(tuple(info.names[number] for number in sorted(info.names)), info.channels, info.keypoints)


def fit_for_training(model: ModelFacts, data: DataFacts) -> Fit:
    """Say what training a model on a data set would do to it."""
    names = _names_seen(model, data)
    changed = _changed_parts(model, data, names)
    if model.keypoints and not data.keypoints:
        return Fit(REFUSED, _no_keypoints(model), model.names, names)
    if changed and model.pruned:
        sentence = (
            f"{model.name} is pruned, so no part of it can be built anew: {'; '.join(changed)}. Fine-tune it on a data "
            "set like the one it was trained for, or train the dense model on this one and prune that."
        )
        return Fit(REFUSED, sentence, model.names, names)
    if changed:
        return Fit(REBUILT, _rebuilding_sentence(model, data, names, changed), model.names, names)
    if _renamed(model.names, names):
        return Fit(RENAMED, _renaming_sentence(model, names), model.names, names)
    return Fit(FITS, _one_class(model, data), model.names, names)


def fit_for_measuring(model: ModelFacts, data: DataFacts) -> Fit:
    """Say whether a model can be measured on a data set, and what the numbers then mean."""
    names = model.names if model.single_cls else data.names  # what counts as one class is not told apart
    if model.keypoints and not data.keypoints:
        return Fit(REFUSED, _no_keypoints(model), model.names, names)
    if changed := _changed_parts(model, data, names):
        correct = ", correct its 'channels'" if model.channels != data.channels else ""
        sentence = (
            f"{model.name} does not fit this data set: {'; '.join(changed)}. Choose the data set that it was trained "
            f"for{correct}, or train it on this one first."
        )
        return Fit(REFUSED, sentence, model.names, names)
    if _renamed(model.names, names):
        return Fit(RENAMED, f"{_names_apart(model, names)} Classes count by their number.", model.names, names)
    return Fit(FITS, _one_class(model, data), model.names, names)


def listed(names: Sequence[str]) -> str:
    """Return class names for a sentence: the first three, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def moved_classes(model: Sequence[str], data: Sequence[str]) -> dict[int, int]:
    """Return number in the data set -> number in the model, of classes that both name, where any has moved.

    Names count as Ultralytics compares them, without case and outer spaces; empty where nothing has to move.
    """
    known = {_plain(name): number for number, name in enumerate(model)}
    rows = {number: known[_plain(name)] for number, name in enumerate(data) if _plain(name) in known}
    if _placeholders(model) or _placeholders(data) or all(number == own for number, own in rows.items()):
        return {}
    return rows


def _names_seen(model: ModelFacts, data: DataFacts) -> tuple[str, ...]:
    return (SINGLE_CLASS,) if model.single_cls else data.names


def _changed_parts(model: ModelFacts, data: DataFacts, names: Sequence[str]) -> list[str]:
    """Return what would have to be built anew, each in words that hold the model against the data set."""
    found = []
    if model.names and len(model.names) != len(names):
        found.append(
            f"it knows {_classes(model.names)} and the data set describes {_classes(names)}"
            f"{', counted as one (single_cls)' if model.single_cls else ''}"
        )
    if model.keypoints and data.keypoints and model.keypoints != data.keypoints:
        mine, theirs = _keypoint_words(model.keypoints, data.keypoints)
        found.append(f"it finds {mine} and the data set describes {theirs}")
    if model.channels != data.channels:
        mine = numbers.image_channels(model.channels)
        found.append(f"it takes images of {mine}, and those of the data set have {data.channels}")
    return found


def _rebuilding_sentence(model: ModelFacts, data: DataFacts, names: Sequence[str], changed: Sequence[str]) -> str:
    counts_differ = len(model.names) != len(names)
    keypoints_differ = bool(model.keypoints) and model.keypoints != data.keypoints
    parts = ["head"] * (counts_differ or keypoints_differ) + ["first layer"] * (model.channels != data.channels)
    shared = _shared(model.names, names) if counts_differ and model.moves_classes else []
    kept = f" Of the head, what it knows of {listed(shared)} is kept as well." if shared else ""
    return (
        f"{model.name} does not fit this data set: {'; '.join(changed)}. Its {' and its '.join(parts)} will be built "
        f"anew and trained; the other layers keep what they know.{kept}"
    )


def _renaming_sentence(model: ModelFacts, names: Sequence[str]) -> str:
    moved = moved_classes(model.names, names) if model.moves_classes else {}
    if moved and len(moved) == len(names):
        return f"{_names_apart(model, names)} The head's outputs are put into the data set's order, by name."
    kept = f" What it knows of {listed(_shared(model.names, names))} goes where the data set has it." if moved else ""
    return (
        f"{_names_apart(model, names)} The head goes on from what it knows of the old classes and has to learn the "
        f"new ones.{kept}"
    )


def _names_apart(model: ModelFacts, names: Sequence[str]) -> str:
    if sorted(map(_plain, model.names)) == sorted(map(_plain, names)):
        return (
            f"{model.name} numbers its {len(names)} classes in another order ({listed(model.names)}) than the data set "
            f"({listed(names)})."
        )
    return (
        f"{model.name} knows other classes ({listed(model.names)}) than the data set describes ({listed(names)}), "
        "though as many."
    )


def _no_keypoints(model: ModelFacts) -> str:
    return (
        f"{model.name} finds keypoints and the data set describes none; choose one for poses, whose description has "
        "kpt_shape."
    )


def _one_class(model: ModelFacts, data: DataFacts) -> str:
    if not model.single_cls or len(data.names) < 2:
        return ""
    return f"{model.name} counts all {len(data.names)} classes of the data set as one (single_cls)."


def _renamed(model: Sequence[str], data: Sequence[str]) -> bool:
    """Whether two lists of as many classes name different ones; made-up names say nothing."""
    if not model or _placeholders(model) or _placeholders(data):
        return False
    return list(map(_plain, model)) != list(map(_plain, data))


def _placeholders(names: Sequence[str]) -> bool:
    """Whether these are the names that Ultralytics gives classes without any: '0', '1' or class_0, class_1."""
    return all(re.fullmatch(rf"(class_?)?{number}", _plain(name)) for number, name in enumerate(names))


def _shared(model: Sequence[str], data: Sequence[str]) -> list[str]:
    """Return the data set's classes that the model knows by name."""
    known = set(map(_plain, model))
    return [] if _placeholders(model) or _placeholders(data) else [name for name in data if _plain(name) in known]


def _plain(name: str) -> str:
    return name.strip().lower()


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)} class{'es' * (len(names) != 1)} ({listed(names)})"


def _keypoint_words(mine: Keypoints, theirs: Keypoints) -> tuple[str, str]:
    if mine[0] != theirs[0]:
        return f"{mine[0]} keypoints", str(theirs[0])
    return f"{mine[0]} keypoints of {mine[1]} values each", f"ones of {theirs[1]}"

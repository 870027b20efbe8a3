"""What a field of the table of settings is made of: its kind, its bounds, and what people and programs are told of it.

A field says everything about one option, once::

    epochs: Annotated[Whole, Field(ge=1), Option("passes over the training images", label="Epochs", most=1000)] = 100

From it come the terminal's option, the check of recipes and jobs, the widget, what a resumed run compares, the command
that repeats a job, and a line of docs/settings.md.
"""

from __future__ import annotations

import difflib
import math
import os
import types
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from engine.base.errors import PlanError, WorkbenchError
from engine.base.imgsz import SIDE_WORDS, SIZE_WORDS, ImageSize, as_size, option_text

LARGEST_WHOLE = 10**12
_BOUNDS = (Ge, Gt, Le, Lt)


class SettingsError(WorkbenchError):
    """A setting is missing, unknown, of the wrong type or out of bounds."""


@dataclass(frozen=True)
class Option:
    """What is told of a field besides its type, bounds and default. A field without one is not a person's to set."""

    help: str
    "One clause, in small letters, without a full stop."
    label: str = ""
    "Of its widget on a page; the name in words if empty."
    more: str = ""
    "Whole sentences that pages and docs/settings.md add to ``help``."
    metavar: str = ""
    "What stands for the value on the terminal."
    usual: str = ""
    "What holds where nothing is said, in words, where the default itself does not tell."
    why: str = ""
    "What a refusal of a value out of bounds adds, in words."
    group: str = ""
    "Heading in --help."
    unit: str = ""
    "Of the value, such as px, ms or images."
    flag: str = ""
    "On the terminal, where it is not --NAME, or --no-NAME for a switch that is on."
    repeatable: bool = False
    "Whether a list is given on the terminal by saying the option again, not by several values at once."
    most: float | None = None
    "The largest value that a page offers, where there is a larger one or no bound."
    least: float | None = None
    "The smallest value that a page offers, where that is not the bound."
    step: float | None = None
    "Of the widget."
    resume: Literal["compared", "free", "refused"] = "compared"
    """What happens where a run goes on and this is said with another value: it is refused with a sentence, it is taken,
    or the verb refuses it in any run."""
    advanced: bool = False
    "Whether the pages that train show a widget of it among what is seldom changed; of numbers and switches."
    terminal: bool = True
    "Whether the terminal has an option of this name; a field of Ultralytics' own arguments needs none."


@dataclass(frozen=True)
class Kind:
    """How values of one kind are read and told."""

    name: str
    words: str
    "What a value has to be, in a sentence: it must be WORDS."
    take: Callable[[Any], Any]
    "Returns a specification's value as the engine holds it; raises ValueError."
    read: Callable[[str], Any]
    "Returns what a specification holds for a word of the terminal; raises ValueError."
    write: Callable[[Any], str] = str
    "The inverse of ``read``."
    bounded: str = ""
    "``words`` where bounds follow, if they are too long for that."

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.take, handler(source))


@dataclass(frozen=True)
class Choices:
    """The names that a field takes where they are no ``Literal``: those of a registry, or in any case of letters."""

    names: tuple[str, ...]
    any_case: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, value: str) -> str:
        """Return a name; raises ValueError for one that is none of them."""
        folded = [name.lower() for name in self.names]
        if value in self.names or (self.any_case and value.lower() in folded):
            return value
        raise ValueError("none of them")


# Kinds


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer of a size that a setting can have."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE


def _whole(value: Any) -> int:
    if not is_whole(value):
        raise ValueError("no whole number")
    return value


def _number(value: Any) -> float:
    """Return a finite number; YAML reads 1e-3, without a point, as text."""
    if not isinstance(value, (float, str)) and not is_whole(value):
        raise ValueError("no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("no switch")
    return value


def _text(value: Any) -> str:
    """Return text that is not empty and fits on one line; a number, such as that of a GPU, is text."""
    text = str(value) if is_whole(value) else value
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        raise ValueError("several lines")
    return text


def _path(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text:
        raise ValueError("no path")
    return text


def _size(value: Any) -> ImageSize:
    try:
        return as_size(value)
    except PlanError as error:
        raise ValueError("no image size") from error


def _side(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if not is_whole(number):
        raise ValueError("no side")
    return int(number)


def _batch(value: Any) -> int | float:
    number = _number(value)
    if not (number == -1 or 0 < number < 1 or (number >= 1 and number.is_integer())):
        raise ValueError("no batch")
    return int(number) if number.is_integer() else number


def _arguments(value: Any) -> Any:
    if not isinstance(value, (str, list, tuple, dict)):
        raise ValueError("no arguments")
    return value


def _read_batch(text: str) -> int | float:
    number = _number(text)
    return int(number) if number.is_integer() else number


def _read_size(text: str) -> int | list[int]:
    size = _size(text)
    return size if isinstance(size, int) else list(size)


Whole = Annotated[int, Kind("whole number", "a whole number", _whole, int)]
NUMBER = Kind("number", "a number", _number, float)
Number = Annotated[float, NUMBER]
SWITCH = Kind("switch", "true or false", _switch, bool)
Switch = Annotated[bool, SWITCH]
TEXT = Kind("text", "text on one line", _text, str)
Text = Annotated[str, TEXT]
FilePath = Annotated[str, Kind("path", "a path", _path, str)]
Size = Annotated[ImageSize, Kind("image size", SIZE_WORDS, _size, _read_size, option_text)]
"Pixels, or (height, width); a specification and a recipe hold [height, width]."
Side = Annotated[
    int, Kind("pixels", f"one number of pixels such as 640: {SIDE_WORDS}", _side, int, bounded="a number of pixels")
]
BATCH_WORDS = "a whole number of images, -1, or a share of the GPU's memory such as 0.7"
Batch = Annotated[int | float, Kind("images", BATCH_WORDS, _batch, _read_batch)]
ARGUMENTS_WORDS = "a group of Ultralytics arguments, {mosaic: 0.5}, or words such as mosaic=0.5"
ArgumentWords = Annotated[dict[str, Any] | tuple[str, ...] | str, Kind("arguments", ARGUMENTS_WORDS, _arguments, str)]
"Ultralytics' own arguments, as they were given; whether it knows them is looked at where it is imported."


# Fields


@dataclass(frozen=True)
class Setting:
    """One field of a request, as everything that is made from the table sees it."""

    name: str
    info: FieldInfo

    @cached_property
    def option(self) -> Option:
        """What is told of it."""
        return next(each for each in self.info.metadata if isinstance(each, Option))

    @cached_property
    def kind(self) -> Kind:
        """Of its value, or of each value of a list."""
        found = next((each for each in _marks(self.info) if isinstance(each, Kind)), None)
        return found or _kind_of_choices(self.choices)

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The names that it takes, nothing where it takes any value of its kind."""
        for mark in _marks(self.info):
            if isinstance(mark, Choices):
                return mark.names
            if get_origin(mark) is Literal:
                return get_args(mark)
        return ()

    @property
    def any_case(self) -> bool:
        """Whether its choices are taken in small and capital letters alike."""
        return any(isinstance(mark, Choices) and mark.any_case for mark in _marks(self.info))

    @property
    def several(self) -> bool:
        """Whether it is a list."""
        return get_origin(self.info.annotation) is tuple

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.kind.name == "switch"

    @property
    def required(self) -> bool:
        """Whether there is nothing that holds where it is not said."""
        return self.info.is_required()

    @property
    def default(self) -> Any:
        """What holds where nothing is said; None where it is required, or depends on the model or the machine."""
        return None if self.info.default is PydanticUndefined else self.info.default

    def bound(self, kind: type[Ge | Gt | Le | Lt]) -> float | None:
        """Return a bound of its value, or of each value of a list; None where there is none of that kind."""
        for mark in _marks(self.info):
            if isinstance(mark, kind):
                return float(getattr(mark, kind.__name__.lower()))
        return None

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        kind: Any = Annotated[(self.info.annotation, *self.info.metadata)]
        return TypeAdapter(kind)

    def checked(self, value: Any) -> Any:
        """Return a value alone as a specification holds it.

        Raises:
            SettingsError: it is of the wrong type or out of bounds; the sentence is ``refusal``.
        """
        listed = value if isinstance(value, (list, tuple)) or not self.several else (value,)
        try:
            return self._adapter.dump_python(self._adapter.validate_python(listed), mode="json")
        except ValidationError as error:
            raise SettingsError(self.refusal(error.errors(include_url=False)[0]["input"])) from error

    @property
    def flag(self) -> str:
        """The option on the terminal."""
        word = self.name.replace("_", "-")
        return self.option.flag or (f"--no-{word}" if self.is_switch and self.default is True else f"--{word}")

    @property
    def label(self) -> str:
        """What a page calls it."""
        return self.option.label or self.name.replace("_", " ").capitalize()

    @property
    def sentence(self) -> str:
        """What it is, in whole sentences, for pages and documents."""
        clause = self.option.help.removeprefix("or: ")
        return " ".join(filter(None, (f"{clause[0].upper()}{clause[1:]}.", self.option.more)))

    @property
    def usual_words(self) -> str:
        """What holds where nothing is said, in words; empty where that needs none."""
        if self.option.usual or self.required or self.is_switch or self.default in (None, ()):
            return self.option.usual
        values = self.default if self.several else (self.default,)
        return " ".join(f"{value:g}" if isinstance(value, float) else self.kind.write(value) for value in values)

    @property
    def bounds_words(self) -> str:
        """The bounds in words, empty where there are none: "from 0 to 1", "of more than 0 and at most 1"."""
        ge, gt, le, lt = (self.bound(kind) for kind in _BOUNDS)
        if ge is not None and le is not None:
            return f"from {ge:g} to {le:g}"
        words = (("at least", ge), ("more than", gt), ("at most", le), ("less than", lt))
        said = " and ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)
        return f"of {said}" if said else ""

    def expected(self, *, within: bool = True) -> str:
        """Return what a value has to be, in words that follow "it must be"; ``within`` tells its bounds as well."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.bound(Ge) is not None and self.bound(Ge) == self.bound(Le):
            return f"{self.bound(Ge):g}"
        if not (within and self.bounds_words):
            return self.kind.words
        return f"{self.kind.bounded or self.kind.words} {self.bounds_words}"

    def refusal(self, value: Any) -> str:
        """Return why a value cannot be, and what can, without a full stop: "0; it must be a whole number of ..."."""
        if isinstance(value, float) and not math.isfinite(value):
            return f"{shown(value)}; it must be {self.expected().replace('a number', 'a finite number', 1)}"
        why = f" ({self.option.why})" if self.option.why else ""
        return f"{shown(value)}; it must be {self.expected(within=self._of_kind(value))}{why}"

    def _of_kind(self, value: Any) -> bool:
        """Whether a value is of the field's kind, or of one whose words the bounds may follow."""
        try:
            self.kind.take(value)
        except (ValueError, TypeError):
            return not self.kind.bounded
        return True


def _kind_of_choices(choices: tuple[str, ...]) -> Kind:
    return Kind("choice", f"one of {', '.join(choices)}", lambda value: value, str)


def _marks(info: FieldInfo) -> Iterable[Any]:
    """Yield what stands in a field's annotation, from the outside in: its metadata, and ``Literal``."""
    yield from info.metadata
    yield from _inner_marks(info.annotation)


def _inner_marks(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *marks = get_args(annotation)
        for mark in marks:
            yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)
        yield from _inner_marks(inner)
    elif origin in (Union, types.UnionType, tuple):
        for each in get_args(annotation):
            yield from _inner_marks(each)
    elif origin is Literal:
        yield annotation


@cache
def fields_of(request: type[BaseModel]) -> dict[str, Setting]:
    """Return the fields of a request that a person may set, by name, in the order in which they are told."""
    described = {name: info for name, info in request.model_fields.items() if _is_described(info)}
    return {name: Setting(name, info) for name, info in described.items()}


def _is_described(info: FieldInfo) -> bool:
    return any(isinstance(mark, Option) for mark in info.metadata)


class Request(BaseModel):
    """Settings that were read from a specification: a plain dict whose keys are the terminal's long options.

    ``given`` tells which of them were said; the others hold their defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    PASSED_OVER: ClassVar[frozenset[str]] = frozenset()
    "Keys that a specification may hold and that mean nothing where there is no field of that name."

    @classmethod
    def read(cls, spec: Mapping[str, Any], place: str = "") -> Self:
        """Return the request that a specification makes. None stands for what was not said.

        Args:
            spec: from the terminal, a job or a page.
            place: what the settings belong to, where the sentence shall say it.

        Raises:
            SettingsError: one is missing, unknown, of the wrong type or out of bounds.
        """
        passed = cls.PASSED_OVER - cls.model_fields.keys()
        said = {key: value for key, value in spec.items() if value is not None and key not in passed}
        known = fields_of(cls)
        for key, value in said.items():
            if key not in cls.model_fields:
                raise SettingsError(f"{place or 'This step'} {unknown(key, known)}")
            if key in known and known[key].several and not isinstance(value, (list, tuple)):
                said[key] = (value,)
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            raise SettingsError(_sentence(cls, error)) from error

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were said, by name; what is None was not."""
        said = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return {name: value for name, value in said.items() if value is not None}


def _sentence(request: type[Request], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    setting = fields_of(request).get(name)
    flag = setting.flag if setting and not setting.is_switch else f"--{name.replace('_', '-')}"
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return missing(flag)
    if setting is None:
        return f"{name} is {shown(first['input'])}, which it cannot be."
    return f"{flag} is {setting.refusal(first['input'])}."


def missing(flag: str) -> str:
    """Return that an option has to be said."""
    return f"{flag} is missing; say it on the command line."


def default_of(request: type[Request], name: str) -> Any:
    """Return the default of a setting, for what is asked for in Python without a request."""
    return fields_of(request)[name].default


def choices_of(request: type[Request], name: str) -> tuple[str, ...]:
    """Return the names that a setting takes."""
    return fields_of(request)[name].choices


def check_values(
    request: type[Request],
    settings: Any,
    error: type[WorkbenchError],
    *,
    names: Mapping[str, str] | None = None,
    but: Iterable[str] = (),
) -> None:
    """Hold settings that were given in Python to the table.

    Args:
        request: where their fields stand.
        settings: has attributes of the names of those fields; what it lacks is passed over.
        error: what to raise.
        names: field -> attribute, where it has another name.
        but: fields that are something else there.

    Raises:
        WorkbenchError: as ``error``; a value is of the wrong type or out of bounds.
    """
    for field, setting in fields_of(request).items():
        name = (names or {}).get(field, field)
        if field in but or not hasattr(settings, name):
            continue
        try:
            setting.checked(getattr(settings, name))
        except SettingsError as refusal:
            raise error(f"{name} is {refusal}.") from refusal


def unknown(key: Any, known: Iterable[str]) -> str:
    """Return that a key is not known, and which one may have been meant: "does not know 'epoch'; did you mean ...?"."""
    names = tuple(known)
    close = difflib.get_close_matches(str(key)[:80], names, 1)
    hint = f"did you mean {close[0]}?" if close else f"it knows {', '.join(sorted(names))}."
    return f"does not know {shown(key)}; {hint}"


def shown(value: Any) -> str:
    """Return a value as a person may see it in a sentence: short, on one line."""
    if isinstance(value, (dict, list, tuple)):
        return f"a {'group' if isinstance(value, dict) else 'list'} of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

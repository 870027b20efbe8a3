"""Ultralytics' own arguments, as its command line takes them: ``mosaic=0.5 freeze=10 cache=ram``.

Every argument of the pinned release is one of four: an option of ours by the same name, something that the run itself
decides, something that does nothing for the verb, or handed on to Ultralytics as it is. Names and values are checked
by Ultralytics' own check.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from engine.base.errors import TrainingError
from engine.settings.fields import Request

Asked = TypeVar("Asked", bound=Request)

TRAINING_OPTIONS = ("epochs", "imgsz", "batch", "device", "workers", "seed", "patience", "optimizer", "lr0", "nbs")
"Arguments that are settings of ours by the same name; given among the arguments, they are taken as those."
VALIDATION_OPTIONS = ("imgsz", "batch", "device", "split")
DECIDED = {
    "model": "the model is what the setting weights names",
    "pretrained": "the model is what the setting weights names, with the values that it has",
    "cfg": "give the arguments themselves",
    "data": "the data set is what the setting data names",
    "task": "the task is that of the model",
    "mode": "the mode is that of the step",
    "resume": "the setting resume goes on with a run",
    "project": "the settings project and name, or save_dir, say where the result lies",
    "name": "the settings project and name, or save_dir, say where the result lies",
    "save_dir": "the setting save_dir says where the result lies",
    "exist_ok": "the setting exist_ok allows a folder that exists",
    "save": "what is trained is always saved",
    "distill_model": "the setting teacher names the model to distil from",
    "quantize": "a model with quantisation inside cannot be pruned; export it to int8 instead",
    "tracker": "this one follows objects through a video; what records a training is the setting tracker, without '='",
}
"What the run itself decides, and what to do instead."
ELSEWHERE = frozenset(
    "source vid_stride stream_buffer visualize retina_masks embed show save_frames save_txt save_conf save_crop "
    "show_labels show_conf show_boxes line_width format optimize dynamic simplify opset workspace dnn".split()
)
"Arguments of prediction and export."
VALIDATION = frozenset("conf iou max_det rect agnostic_nms single_cls classes augment nms workers verbose".split())
"What changes a validation."
_BY_EPOCHS = ("time",)
"What a schedule that is counted in epochs cannot follow."


def parsed_arguments(given: str | Iterable[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return arguments by name, with values in the type that Ultralytics gives them; nothing is checked yet.

    Args:
        given: a line, such as a text field holds, or words of the form KEY=VALUE, or names and values.

    Raises:
        TrainingError: a word is not of that form, or a name stands there twice.
    """
    if isinstance(given, Mapping):
        return {str(key): _plain(value) for key, value in given.items()}
    from ultralytics.cfg import merge_equals_args, parse_key_value_pair

    values: dict[str, Any] = {}
    try:
        words = merge_equals_args(given.split() if isinstance(given, str) else list(given or ()))
    except (SyntaxError, ValueError, IndexError) as error:
        raise TrainingError(f"The Ultralytics arguments cannot be read: {_one_line(error)}") from error
    for word in words:
        key, equals, value = word.strip(" ,").partition("=")
        if not (key.isidentifier() and equals and value.strip()):
            raise TrainingError(f"{word!r} is no Ultralytics argument; write it as KEY=VALUE, such as mosaic=0.5.")
        if key in values:
            raise TrainingError(f"{key} is given twice among the Ultralytics arguments; leave one out.")
        values[key] = _plain(parse_key_value_pair(f"{key}={value}")[1])
    return values


def asked_single_cls(settings: Mapping[str, Any]) -> bool | None:
    """Return whether the settings of a verb count all classes as one; None where they say nothing of it.

    Asked by pages, so it reads the one argument by itself, as Ultralytics does.
    """
    given = settings.get("ultralytics") or ()
    if isinstance(given, Mapping):
        return given.get("single_cls")
    line = given if isinstance(given, str) else " ".join(given)
    said = re.search(r"(?:^|[\s,])single_cls\s*=\s*([^\s,]+)", line)
    return None if said is None else said[1].lower() in ("true", "1")


def argument_words(values: Mapping[str, Any] | Iterable[str]) -> list[str]:
    """Return arguments as words of Ultralytics' command line, which read back as the same values."""
    if not isinstance(values, Mapping):
        return list(values)
    return [f"{key}={_word(value)}" for key, value in values.items()]


def checked_arguments(given: str | Iterable[str] | Mapping[str, Any] | None, verb: str) -> dict[str, Any]:
    """Return the arguments for a verb (train, sparsify, finetune or val), checked, in Ultralytics' own spelling.

    Raises:
        TrainingError: Ultralytics does not know one or refuses its value, or it is not the person's to set; the
            sentence says what to do instead.
    """
    values = parsed_arguments(given)
    _refuse(values, verb)
    values = _checked_by_ultralytics(values)
    _refuse(values, verb)  # an old name may stand for one of those
    _check_free_values(values)
    return values


def merged_arguments(spec: Mapping[str, Any], verb: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a specification in which arguments that are settings of ours are such, and the other arguments.

    Raises:
        TrainingError: as ``checked_arguments``, or one is given both ways.
    """
    options = VALIDATION_OPTIONS if verb == "val" else (*TRAINING_OPTIONS, "cos_lr")
    values = checked_arguments(spec.get("ultralytics"), verb)
    own = {key: values.pop(key) for key in options if key in values}
    for key, value in own.items():
        if spec.get(key) is not None:
            raise TrainingError(f"{key} is set to {spec[key]} and given as {key}={value} as well; leave one out.")
    if "device" in own:
        own["device"] = ",".join(map(str, own["device"])) if isinstance(own["device"], list) else str(own["device"])
    return {**spec, **own, "ultralytics": values}, values


def told_arguments(scratch: Path, spec: dict[str, Any], verb: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checked arguments of a specification as a child process answers: who asks imports no Ultralytics."""
    merged_arguments(spec, verb)
    return checked_arguments(spec["ultralytics"], verb), {}


def merged_request(request: Asked, verb: str) -> Asked:
    """Return a request in which arguments that are settings of ours are such; ``arguments`` are the others.

    Raises:
        TrainingError: as ``merged_arguments``.
        SettingsError: one that is a setting of ours is out of bounds.
    """
    return type(request).read(merged_arguments(request.given, verb)[0])


def _refuse(values: Mapping[str, Any], verb: str) -> None:
    for key in values:
        if key in DECIDED:
            raise TrainingError(f"{key} cannot be given among the Ultralytics arguments: {DECIDED[key]}.")
        if key in ELSEWHERE:
            raise TrainingError(f"{key} does nothing here, because it belongs to prediction or export; leave it out.")
        if verb == "sparsify" and key in _BY_EPOCHS:
            raise TrainingError(f"{key} cannot be used with sparse training, whose schedule is counted in epochs.")
        if verb == "val" and _known(key) and key not in VALIDATION and key not in VALIDATION_OPTIONS:
            raise TrainingError(f"{key} does nothing in a validation; leave it out.")


def _known(key: str) -> bool:
    from ultralytics.utils import DEFAULT_CFG_DICT

    return key in DEFAULT_CFG_DICT


def _checked_by_ultralytics(given: Mapping[str, Any]) -> dict[str, Any]:
    from ultralytics.cfg import check_cfg, check_dict_alignment
    from ultralytics.utils import DEFAULT_CFG_DICT

    values = dict(given)
    try:
        with _without_help():
            check_dict_alignment(DEFAULT_CFG_DICT, values, allowed_custom_keys=set())
            check_cfg(values)
    except (SyntaxError, TypeError, ValueError) as error:
        raise TrainingError(_sentence(error)) from error
    if dropped := [key for key in given if key not in values and len(values) < len(given)]:
        raise TrainingError(f"{dropped[0]} does nothing in this release of Ultralytics; leave it out.")
    return {key: _plain(value) for key, value in values.items()}


@contextlib.contextmanager
def _without_help() -> Iterator[None]:
    """Keep Ultralytics from printing its whole manual beside an error."""
    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _sentence(error: Exception) -> str:
    text = _one_line(error)
    text = re.sub(r"\. Similar arguments are i\.e\. \[(.*?)\]\.", _did_you_mean, text)
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _did_you_mean(match: re.Match[str]) -> str:
    return f"; did you mean {' or '.join(part.strip(' ' + chr(39)) for part in match[1].split(','))}?"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_free_values(values: Mapping[str, Any]) -> None:
    """Refuse what Ultralytics would take and then do nothing with."""
    freeze, cache = values.get("freeze"), values.get("cache")
    entries = freeze if isinstance(freeze, list) else [freeze]
    if freeze is not None and not all(_is_layer(entry, isinstance(freeze, list)) for entry in entries):
        raise TrainingError(
            f"'freeze={_word(freeze)}' is invalid. Use the number of first layers, or a list of layers, [0,1,2]."
        )
    if not (cache is None or isinstance(cache, bool) or str(cache).lower() in ("ram", "disk")):
        raise TrainingError(f"'cache={cache}' is invalid. Valid 'cache' values are True, False, ram and disk.")
    imgsz = values.get("imgsz")
    if imgsz is not None and (isinstance(imgsz, bool) or not isinstance(imgsz, int)):
        raise TrainingError(f"'imgsz={_word(imgsz)}' is invalid here. Training takes one number, such as imgsz=640.")


def _is_layer(entry: Any, listed: bool) -> bool:
    number = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0
    return number or (listed and isinstance(entry, str) and bool(entry))


def _plain(value: Any) -> Any:
    """Return a value as JSON keeps it."""
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _word(value: Any) -> str:
    return f"[{','.join(_entry(entry) for entry in value)}]" if isinstance(value, list) else str(value)


def _entry(value: Any) -> str:
    return repr(value) if isinstance(value, str) else _word(value)

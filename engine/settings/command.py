"""The command that the terminal would be given for a specification."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.settings.arguments import argument_words
from engine.settings.fields import Setting
from engine.settings.parser import ARGUMENTS, terminal_settings
from engine.settings.requests import REQUESTS

_LEFT_OUT = ("resume", ARGUMENTS)


def command_of(verb: str | None, spec: Mapping[str, Any]) -> str | None:
    """Return the terminal command that does what a job with this specification does, None where there is none.

    Settings that the terminal does not know, such as those of a chain of jobs, are left out.
    """
    if verb not in REQUESTS:
        return None
    settings = terminal_settings(REQUESTS[verb])
    if any(setting.required and spec.get(setting.name) is None for setting in settings):
        return None
    said = [setting for setting in settings if setting.name not in _LEFT_OUT and spec.get(setting.name) is not None]
    words = [word for setting in said for word in _words(setting, spec[setting.name])]
    return shlex.join(["python", "-m", "engine", verb, *words, *argument_words(spec.get(ARGUMENTS) or {})])


def _words(setting: Setting, value: Any) -> list[str]:
    flag = setting.flag
    if setting.is_switch:
        return [] if bool(value) == setting.default else [flag]
    if setting.several:
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if setting.option.repeatable:
            return [f"{flag}={each}" for each in values]
        return [flag, *(_no_flag(str(each)) for each in values)]
    text = setting.kind.write(value)
    return [f"{flag}={text}"] if text.startswith("-") or not text else [flag, text]


def _no_flag(text: str) -> str:
    """Return a path that cannot be mistaken for an option."""
    return f"./{text}" if text.startswith("-") else text

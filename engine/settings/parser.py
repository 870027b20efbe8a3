"""The terminal's options, made from the table of settings. Bounds are checked where a verb reads its request."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from engine.settings.fields import Request, Setting, fields_of
from engine.settings.requests import REQUESTS, RunRequest, VerbRequest

ARGUMENTS = "ultralytics"
"The setting that takes what stands on the command line without an option."
_JSON = "print the result as JSON on standard output"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on one line; argparse alone prints the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def build_parser(program: str = "python -m engine", epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; ``program`` is what the person typed before them."""
    description = "Make trained Ultralytics YOLO models smaller."
    parser = _Parser(prog=program, description=description, epilog=epilog)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    requests: dict[str, type[VerbRequest]] = {**REQUESTS, "run": RunRequest}
    for verb, request in requests.items():
        sub = verbs.add_parser(verb, help=request.ABOUT, description=request.ABOUT)
        add_options(sub, request)
        sub.add_argument("--json", action="store_true", help=_JSON)
    return parser


def add_options(parser: argparse.ArgumentParser, request: type[VerbRequest]) -> None:
    """Add the options of a verb, in groups as the table has them."""
    groups: dict[str, Any] = {"": parser}
    for setting in terminal_settings(request):
        group = setting.option.group
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        if setting.name in _POSITIONAL:
            parser.add_argument(setting.name, **_told(setting), nargs=_POSITIONAL[setting.name])
        else:
            groups[group].add_argument(setting.flag, dest=setting.name, help=help_text(setting), **_taken(setting))


_POSITIONAL = {ARGUMENTS: "*", "recipe": "?"}
"Settings that are given without an option, and how many words each takes."


def terminal_settings(request: type[Request]) -> list[Setting]:
    """Return the settings of a verb that the terminal has, in the order of its --help."""
    return [setting for setting in fields_of(request).values() if setting.option.terminal]


def help_text(setting: Setting) -> str:
    """Return what --help says of a setting: what it is, and what holds where it is not said."""
    text = setting.option.help
    if setting.flag.startswith("--no-"):
        text = f"do not {text}"
    if setting.bounds_words.startswith("from") and not setting.option.usual:
        text = f"{text}, {setting.bounds_words}"
    if setting.several and setting.option.repeatable:
        text = f"{text}; repeatable"
    return f"{text} ({setting.usual_words})" if setting.usual_words else text


def read_terminal(arguments: list[str] | None = None, **parser_options: Any) -> dict[str, Any]:
    """Return the options of a command line by their names, with Ultralytics' own arguments wherever they stood."""
    parser = build_parser(**parser_options)
    namespace, rest = parser.parse_known_args(arguments)
    options = vars(namespace)
    if rest and (ARGUMENTS not in options or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options[ARGUMENTS] = [*options[ARGUMENTS], *rest]
    return options


def _told(setting: Setting) -> dict[str, Any]:
    return {"metavar": setting.option.metavar or None, "help": help_text(setting)}


def _taken(setting: Setting) -> dict[str, Any]:
    """Return what argparse needs to read the values of a setting."""
    if setting.is_switch:
        negative = setting.default is True
        return {"action": "store_false", "default": None} if negative else {"action": "store_true"}
    taken: dict[str, Any] = {"required": setting.required, "type": _reader(setting)}
    if setting.choices and not setting.any_case:
        taken["choices"] = setting.choices
    else:
        taken["metavar"] = setting.option.metavar or None
    if setting.several:
        taken |= {"action": "append"} if setting.option.repeatable else {"nargs": "+"}
    return taken


def _reader(setting: Setting) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return setting.kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {setting.kind.words}") from error

    return read

"""Writes docs/settings.md from the table of settings: ``python -m engine.settings.docs > docs/settings.md``."""

from __future__ import annotations

from collections.abc import Iterator

from engine.settings.fields import Setting, fields_of
from engine.settings.parser import ARGUMENTS
from engine.settings.requests import REQUESTS, RunRequest, VerbRequest

_HEAD = """# Settings

Every setting of every verb, made by `python -m engine.settings.docs` from `engine/settings/`: change it there. The
terminal writes a setting as it stands here; recipes and specifications write its name, with underscores:
`--prune-ratio 0.5` is `prune_ratio: 0.5`, and `--no-compensate` is `compensate: false`. What cannot be is refused in
one sentence before anything starts. The last column says what a run that goes on (`--resume`) makes of another value:
it is refused with a sentence (*compared*), or taken (*free*).
"""


def settings_page() -> str:
    """Return docs/settings.md."""
    return "\n".join([_HEAD, *(line for verb, request in _verbs() for line in _section(verb, request))])


def _verbs() -> list[tuple[str, type[VerbRequest]]]:
    return [*REQUESTS.items(), ("run", RunRequest)]


def _section(verb: str, request: type[VerbRequest]) -> Iterator[str]:
    settings = fields_of(request)
    resumes = "resume" in settings
    yield f"## {verb}"
    yield ""
    yield f"{request.ABOUT[0].upper()}{request.ABOUT[1:]}."
    yield ""
    heads = ["Setting", "What it is", "Values", "Without it", *(["Going on"] if resumes else [])]
    yield _row(heads)
    yield _row(["---"] * len(heads))
    for setting in settings.values():
        yield _row([*_cells(setting), *([setting.option.resume] if resumes else [])])
    yield ""


def _cells(setting: Setting) -> list[str]:
    return [
        _flag(setting),
        setting.sentence,
        values_words(setting),
        _default(setting),
    ]


def _flag(setting: Setting) -> str:
    if setting.name in (ARGUMENTS, "recipe"):
        return f"`{setting.option.metavar}`"
    flag = f"`{setting.flag}`" if setting.option.terminal else f"`{setting.name}=True`, as of Ultralytics"
    return f"{flag} {setting.option.unit and f'({setting.option.unit})'}".strip()


def values_words(setting: Setting) -> str:
    """Return what a setting takes, in words: its choices, or its kind with its bounds."""
    if setting.choices:
        words = ", ".join(f"`{choice}`" for choice in setting.choices)
    elif setting.is_switch:
        words = "on or off"
    else:
        words = " ".join(filter(None, [setting.kind.bounded or setting.kind.words, setting.bounds_words]))
    return f"one or more: {words}" if setting.several else words


def _default(setting: Setting) -> str:
    if setting.required:
        return "**must be said**"
    if setting.is_switch:
        return "on" if setting.default else "off"
    return setting.usual_words or "–"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(settings_page(), end="")

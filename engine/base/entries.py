"""What a folder of the engine has to choose from: one file each, described in its first line, read without importing.

Criteria and export formats import PyTorch when they run. The terminal, the check of recipes and the pages only list
them, so they read the files as text.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENGINE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Entry:
    """One file of such a folder."""

    name: str
    "As a person types it: the file gamma_next.py is gamma-next."
    label: str
    "What a page calls it: the first line of the file up to its colon; the name where there is none."
    text: str
    "What it is, in a few words: the rest of that line."
    more: str = ""
    "The paragraphs below that line, in one line."

    @property
    def sentence(self) -> str:
        """``text`` as a sentence of its own, empty where there is none."""
        return f"{self.text[:1].upper()}{self.text[1:]}." if self.text else ""


@cache
def entries(folder: str) -> dict[str, Entry]:
    """Return what a folder of the engine offers, by name, in alphabetical order.

    Args:
        folder: such as ``pruning/criteria``. Files whose names begin with an underscore only serve the others.
    """
    files = sorted(_ENGINE.joinpath(folder).glob("*.py"))
    return {entry.name: entry for entry in (_entry(file) for file in files if not file.name.startswith("_"))}


def _entry(file: Path) -> Entry:
    name = file.stem.replace("_", "-")
    lines = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()
    line, more = (lines[0].rstrip("."), " ".join(" ".join(lines[1:]).split())) if lines else ("", "")
    label, colon, text = line.partition(": ")
    return Entry(name, label, text, more) if colon else Entry(name, name, line, more)

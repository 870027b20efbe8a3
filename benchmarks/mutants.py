"""Whether the tests notice faults: each mutant of mutants.toml changes one place of the engine, and tests should fail.

    python benchmarks/mutants.py [--only PATTERN] [--timeout 300]

Prints one Markdown table: mutant, killed by which test, or survived. The tests run in a scratch copy of the working
tree, so the tree itself stays as it is. Ends with 1 where a mutant survived, or no longer fits the code, or where its
tests fail without it. Mutants are chosen, not generated: what they break would reach a person.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
COPIED = (".streamlit", "app", "demo", "engine", "pages", "tests", "pyproject.toml")
KILLED, SURVIVED, STALE, BROKEN = "killed", "SURVIVED", "STALE", "BROKEN"


@dataclass(frozen=True)
class Mutant:
    """One fault, put into the code on purpose."""

    name: str
    "What it breaks, in words."
    file: str
    old: str
    "Text that stands in the file once."
    new: str
    tests: tuple[str, ...]
    "The narrowest tests that should notice, as pytest takes them; relative to tests/engine."


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    word: str
    "killed, SURVIVED, STALE (it does not fit the code any more) or BROKEN (its tests fail without it)."
    test: str = ""
    "The first test that noticed."


def read_mutants(only: str = "") -> list[Mutant]:
    """Return the mutants whose file and name, with a space between, hold a regular expression."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    return [mutant for mutant in mutants if re.search(only, f"{mutant.file} {mutant.name}")]


def _place(copy: Path, test: str) -> str:
    """Return where a test lies, in whichever room of tests/ its file stands."""
    file, _, name = test.partition("::")
    return "::".join(filter(None, (str(next((copy / "tests").rglob(file))), name)))


def failing(
    copy: Path, tests: Sequence[str], timeout_s: float | None = None, *, first_alone: bool = False
) -> list[str]:
    """Return the tests that fail, such as ``test_reach.py::test_steps``, or what pytest says where none could run."""
    paths = [_place(copy, test) for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(["-x"] if first_alone else []), *paths]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # a mutant must not be taken for the code before it
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return [f"no end within {timeout_s:g} s"]
    if done.returncode == 0:
        return []
    failed = re.findall(r"^(?:FAILED|ERROR) \S*?(\w+\.py(?:::\S+)?)", done.stdout, re.MULTILINE)
    return failed or ["pytest: " + " ".join((done.stdout + done.stderr).split())[-200:]]


def tried(mutant: Mutant, copy: Path, timeout_s: float) -> Outcome:
    """Put a mutant into the copy, run its tests, and take it out again."""
    path = copy / mutant.file
    before = path.read_text(encoding="utf-8")
    if before.count(mutant.old) != 1:
        return Outcome(STALE, f"{before.count(mutant.old)} places in {mutant.file} hold the text to change")
    try:
        path.write_text(before.replace(mutant.old, mutant.new), encoding="utf-8")
        noticed = failing(copy, mutant.tests, timeout_s, first_alone=True)
    finally:
        path.write_text(before, encoding="utf-8")
    return Outcome(KILLED, noticed[0]) if noticed else Outcome(SURVIVED)


def outcomes(mutants: Sequence[Mutant], copy: Path, timeout_s: float) -> Iterator[tuple[Mutant, Outcome]]:
    """Yield what becomes of each mutant; one whose tests fail without it shows nothing."""
    without = failing(copy, sorted({test for mutant in mutants for test in mutant.tests}))
    for mutant in mutants:
        broken = [name for name in without if name.startswith((*mutant.tests, "pytest: "))]
        yield mutant, Outcome(BROKEN, broken[0]) if broken else tried(mutant, copy, timeout_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only mutants with this (regular expression) in file or name")
    parser.add_argument("--timeout", type=float, default=300, help="seconds that the tests of a mutant may take")
    options = parser.parse_args()
    words = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), symlinks=True)
            else:
                shutil.copy(ROOT / name, folder)
        print("| File | Mutant | | By |\n| --- | --- | --- | --- |", flush=True)
        for mutant, outcome in outcomes(read_mutants(options.only), Path(folder), options.timeout):
            print(f"| {mutant.file} | {mutant.name} | {outcome.word} | {outcome.test} |", flush=True)
            words.append(outcome.word)
    print(f"\n{words.count(KILLED)} of {len(words)} killed")
    return 0 if words and set(words) == {KILLED} else 1


if __name__ == "__main__":
    raise SystemExit(main())

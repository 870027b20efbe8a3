"""The command that an installed workbench gives: ``yolo-slim app`` serves the pages, ``yolo-slim VERB`` runs a verb."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engine  # noqa: F401 - first, because it says so in a sentence where Python is too old for what follows
from engine.cli import main as run_verb

PROGRAM = "yolo-slim"
HOME = Path(__file__).with_name("Home.py")
_EPILOG = f"'{PROGRAM} app' starts the workbench in the browser; what follows are options of Streamlit."


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] != ["app"]:
        return run_verb(words, program=PROGRAM, epilog=_EPILOG)
    try:
        return subprocess.call([sys.executable, "-m", "streamlit", "run", str(HOME), *words[1:]])
    except KeyboardInterrupt:  # the server has had it too, and ends by itself
        return 0

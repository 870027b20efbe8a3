"""The terminal: ``python -m engine VERB ...`` runs the same verbs as the pages.

Results go to standard output, as text or with ``--json`` as one JSON document; everything else goes to standard
error. Errors that a person can mend end with exit code 2 and one line.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from engine.base import numbers
from engine.base.errors import WorkbenchError
from engine.base.files import expanded
from engine.base.log import log_event
from engine.base.runtime import logs_to_stderr
from engine.cli.text import result_text
from engine.settings.parser import read_terminal
from engine.settings.requests import RunRequest
from engine.settings.results import RecipeList, Result, dumped


def main(arguments: list[str] | None = None, **parser_options: Any) -> int:
    """Run the terminal command and return its exit code: 0, or 2 for an error that the person can mend."""
    options = read_terminal(arguments, **parser_options)
    verb, as_json = options.pop("verb"), options.pop("json")
    try:
        if "save_dir" in options:
            options["save_dir"] = str(chosen_folder(verb, options))
        with logs_to_stderr():
            result = _result(verb, options)
    except WorkbenchError as error:
        print(f"error: {' '.join(f'{error}{way_out(error)}'.split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; what had been saved is kept", file=sys.stderr)
        return 130
    try:
        print(json.dumps(dumped(result), indent=2, allow_nan=False) if as_json else _readable(result), flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _result(verb: str, options: dict[str, Any]) -> Result | RecipeList:
    if verb == "run":
        from engine.verbs.recipe import run_from_terminal

        return run_from_terminal(RunRequest.read(options, verb), log_event)
    from engine.verbs import run_verb

    return run_verb(verb, options, log_event)


def _readable(result: Result | RecipeList) -> str:
    return numbers.encodable(result_text(result), sys.stdout.encoding)


def way_out(error: WorkbenchError) -> str:
    """Return what the terminal can add to a refusal."""
    offer = getattr(error, "offer", None)  # of MissingImages, which takes longer to import
    if offer is None or not offer.possible:
        return ""
    from engine.datasets import download_folder

    return f" Say --download to fetch them into {download_folder() / offer.folder}."


def chosen_folder(verb: str, options: dict[str, Any]) -> Path:
    """Return the folder that the options name, and take those out of them that are Ultralytics' way of naming it.

    Raises:
        WorkbenchError: Both ways are used.
    """
    project, name, exist_ok = (options.pop(key) for key in ("project", "name", "exist_ok"))
    if options["save_dir"]:
        if project or name or exist_ok:
            raise WorkbenchError("Say either --save-dir or --project and --name, not both.")
        return expanded(options["save_dir"])
    if not (project or name or exist_ok):
        return _free(Path("runs") / verb, "")
    folder = expanded(project or "runs") / (name or verb)
    return folder if exist_ok or options.get("resume") else _free(folder, "-")


def _free(folder: Path, joint: str) -> Path:
    """Return a folder, or the first of NAME2, NAME3, ... that does not exist, so that nothing is overwritten.

    Args:
        folder: The one to begin with.
        joint: What stands before the number; Ultralytics' is "-".
    """
    candidates = (folder.with_name(f"{folder.name}{joint}{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([folder], candidates) if not each.exists())

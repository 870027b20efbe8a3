"""What runs inside a child process: one function of the engine, within bounds, whose answer is left in a folder.

The answer is a document and arrays in one file (``engine.base.arrays``); nothing of it is a pickle. An error is told
as the name of its kind and its sentence.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.arrays import write_arrays
from engine.base.errors import WorkbenchError
from engine.checkpoints.bounds import NotAllowed, forbid_outside, limit_resources

ANSWER = "answer.npz"
MEMORY, FORBIDDEN, DEFECT = "memory", "forbidden", "defect"
"Kinds of an error beside the names of ``WorkbenchError``'s subclasses."
_MOST_TEXT = 500
"Characters of a sentence."
_MOST_TRACE = 4_000
Answer = tuple[Any, dict[str, np.ndarray]]
"(JSON-able document, arrays by name)."


def answer(request: dict[str, Any]) -> None:
    """Run what a request asks and leave the answer in its folder.

    Args:
        request: ``function`` ('engine.room.module:name', called with the folder as ``scratch`` and the arguments,
            returns an ``Answer``), ``arguments``, ``scratch`` and ``bounds`` (None for what opens no file).
    """
    scratch, bounds = Path(request["scratch"]), request["bounds"]
    try:
        function = _named(request["function"])
        if bounds is not None:
            tempfile.tempdir = str(scratch)
            limit_resources(bounds["memory_bytes"], bounds["cpu_s"], bounds["output_bytes"])
            if bounds["confined"]:
                forbid_outside(scratch)
        document, arrays = function(scratch=scratch, **request["arguments"])
        write_arrays(scratch / ANSWER, {"value": document}, arrays)
    except BaseException as error:
        write_arrays(scratch / ANSWER, {"error": _told(error)}, {})


def _named(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def _told(error: BaseException) -> dict[str, str]:
    chain = list(_chain(error))
    if any(isinstance(each, MemoryError) or "can't allocate memory" in str(each) for each in chain):
        return {"kind": MEMORY, "sentence": ""}
    if forbidden := next((each for each in chain if isinstance(each, NotAllowed)), None):
        return {"kind": FORBIDDEN, "sentence": _short(str(forbidden))}
    if isinstance(error, WorkbenchError):
        known = next(kind for kind in type(error).__mro__ if kind.__module__ == WorkbenchError.__module__)
        return {"kind": known.__name__, "sentence": _short(str(error))}
    trace = "".join(traceback.format_exception(error))[-_MOST_TRACE:]
    return {"kind": DEFECT, "sentence": _short(f"{type(error).__name__}: {error}"), "traceback": trace}


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":  # a child of its own, where processes are not forked
    answer(json.loads(sys.stdin.read()))

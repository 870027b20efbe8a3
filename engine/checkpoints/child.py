"""Runs a function of the engine in a child process, within bounds on memory, time, files, network and processes.

Whatever opens a file from outside runs there, so that the file can harm neither the one who asks nor what else it does,
and so that the one who asks need not import PyTorch. The answer is JSON and arrays, and never unpickled.

On Linux children are forked by a process that has imported PyTorch (``fork_server``), in some hundredths of a second.
Elsewhere each starts from nothing, in seconds. What holds where is said in ``engine.checkpoints.bounds``; the limit on
wall time holds everywhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base import errors
from engine.base.arrays import read_arrays
from engine.base.documents import DocumentError
from engine.base.errors import CheckpointError, WorkbenchError
from engine.base.runtime import REPOSITORY, worker_environment
from engine.checkpoints.child_side import ANSWER, DEFECT, FORBIDDEN, MEMORY

PRELOAD = (
    "torch",
    "torch._dynamo",  # imported later, under the audit hook, it fails; so do the operators of torchvision
    "torchvision",
    "thop",
    "ultralytics.nn.tasks",
    "ultralytics.utils.torch_utils",
    "engine.pruning.session",  # of a room above this one, so by name: what children are asked for most
)
"Imported once, by the process that forks."
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"A library's threads do not survive a fork."
_START_S = 180
"Until PyTorch is imported, on a machine that has much else to do."
_FROM_WHOM = "get it from whoever trained it"
_log = logging.getLogger(__name__)


class ChildLost(CheckpointError):
    """Something else than the file ended the child: the same file may be opened another time."""


@dataclass(frozen=True)
class Bounds:
    """What a child may take."""

    memory_bytes: int = 2_000_000_000
    "Beyond what it starts with."
    cpu_s: int = 120
    wall_s: float = 180
    output_bytes: int = 64 << 20
    "Of each file that it writes, its answer included."
    confined: bool = True
    "Whether it may do nothing beyond reading files and writing into its folder; off for files that proved good."


def run_in_child(
    function: str,
    arguments: Mapping[str, Any],
    what: str,
    *,
    bounds: Bounds | None = Bounds(),
    scratch: Path | None = None,
    wall_s: float | None = None,
) -> tuple[Any, dict[str, np.ndarray]]:
    """Run a function in a child process and return what it answers.

    Args:
        function: 'engine.room.module:name'; called with ``scratch`` (the only folder that it may write into) and the
            arguments by name, returns JSON-able values and arrays by name.
        arguments: JSON-able.
        what: What sentences call that which is opened, such as the name of the file.
        bounds: What it may take; None for what opens no file, where wall time alone is bounded.
        scratch: An existing folder whose content stays; by default one that is gone afterwards.
        wall_s: In place of the time that the bounds give it.

    Raises:
        WorkbenchError: As the function raises it.
        CheckpointError: The child was ended, by its bounds or by what it opened; says which.
        ChildLost: It was ended by the system, or its answer was lost.
    """
    with contextlib.ExitStack() as stack:
        folder = scratch or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="child-")))
        request = {
            "function": function,
            "arguments": dict(arguments),
            "scratch": str(folder.resolve()),
            "bounds": asdict(bounds) if bounds else None,
            "wall_s": wall_s or (bounds or Bounds()).wall_s,
        }
        exit_code, expired = _forked(request) if sys.platform == "linux" else _spawned(request)
        return _read(folder / ANSWER, what, bounds or Bounds(), exit_code, expired)


def warm_up() -> None:
    """Start what forks children, so that the first one need not wait for PyTorch's import; returns at once."""
    if sys.platform == "linux":
        _server.start()


def _read(path: Path, what: str, bounds: Bounds, exit_code: int, expired: bool) -> tuple[Any, dict[str, np.ndarray]]:
    if expired or exit_code == -getattr(signal, "SIGXCPU", 0):
        raise CheckpointError(f"{what} was not open after {bounds.wall_s:g} s, so it was given up; {_FROM_WHOM}.")
    try:
        told, arrays = read_arrays(path, bounds.output_bytes)
    except FileNotFoundError:
        raise _ended(what, exit_code) from None
    except (DocumentError, OSError) as error:
        raise ChildLost(f"What the process that opened {what} answered cannot be read; try again.") from error
    finally:
        path.unlink(missing_ok=True)
    if isinstance(told, dict) and "value" in told:
        return told["value"], arrays
    raise _error(told["error"], what, bounds)


def _ended(what: str, exit_code: int) -> CheckpointError:
    if exit_code == -getattr(signal, "SIGKILL", 9):
        return ChildLost(
            f"The system ended the process that opened {what}, most likely because memory ran out; close other "
            "programs and try again."
        )
    how = f"signal {-exit_code}" if exit_code < 0 else f"code {exit_code}"
    return CheckpointError(f"The process that opened {what} ended without an answer ({how}); {_FROM_WHOM}.")


def _error(told: Mapping[str, str], what: str, bounds: Bounds) -> WorkbenchError:
    kind, sentence = told["kind"], told["sentence"]
    if kind == MEMORY:
        return CheckpointError(
            f"{what} needs more than {bounds.memory_bytes // 10**9} GB of memory to be opened, more than a model of "
            f"its kind does; {_FROM_WHOM}."
        )
    if kind == FORBIDDEN:
        return CheckpointError(
            f"{what} was refused: it wants to {sentence} while it is opened; do not open it anywhere."
        )
    if kind == DEFECT:
        _log.error("While %s was opened: %s", what, told.get("traceback", ""))
        return CheckpointError(f"{what} cannot be opened here ({sentence[:300]}).")
    error = getattr(errors, kind, None)
    if not (isinstance(error, type) and issubclass(error, WorkbenchError)):
        return CheckpointError(f"{what} cannot be opened here ({sentence[:300]}).")
    return error(sentence)


def _environment() -> dict[str, str]:
    return {**worker_environment(), **_ONE_THREAD}


class _ForkServer:
    """The process that forks; started on first use, and again if it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0

    def start(self) -> socket.socket:
        """Return the socket that takes requests."""
        with self._lock:
            running = self._process is not None and self._owner == os.getpid() and self._process.poll() is None
            if self._control is None or not running:
                self._control, theirs = socket.socketpair()
                self._owner = os.getpid()
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "engine.checkpoints.fork_server", str(theirs.fileno()), *PRELOAD],
                        cwd=REPOSITORY,
                        env=_environment(),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        start_new_session=True,  # a terminal's Ctrl-C ends the one who asks; this ends with it
                    )
            return self._control

    def connect(self) -> socket.socket:
        """Return a connection to a new keeper."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.start(), [b"+"], [theirs.fileno()])
        return ours


_server = _ForkServer()


def _forked(request: Mapping[str, Any]) -> tuple[int, bool]:
    """Return (exit code, negative for a signal; whether its time was over) of a child that was forked."""
    reply = b""
    with contextlib.suppress(OSError), _server.connect() as connection:
        connection.settimeout(request["wall_s"] + _START_S)
        connection.sendall(json.dumps(request).encode() + b"\n")
        while piece := connection.recv(1024):
            reply += piece
    if not reply:
        raise ChildLost("The process that opens files ended; try again.")
    told = json.loads(reply)
    return told["exit"], told["expired"]


def _spawned(request: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the same of a child that was started from nothing."""
    command = [sys.executable, "-m", "engine.checkpoints.child_side"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            cwd=REPOSITORY,
            env=_environment(),
            timeout=request["wall_s"],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return 0, True
    return done.returncode, False

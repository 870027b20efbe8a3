"""Training with several processes (DistributedDataParallel), one for each GPU, or a number of them on the CPU.

Ultralytics' own launch deletes the run's folder and rebuilds the trainer from a pickle. Here each process is given
the run's settings as a file and builds the same trainer from them as a single one would: the pruned module comes out
of the checkpoint, the sparsifier out of the settings. PyTorch's launcher starts the processes, and ends all when one
fails. The first of them reports to the process that started the run, over a local connection.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, Literal, TypedDict

from engine.base import errors
from engine.base.errors import StopRequested, TrainingError
from engine.base.events import AnyEvent, Report
from engine.base.files import write_text_atomic
from engine.base.runtime import compute_threads, worker_environment
from engine.training.settings import TrainResult, TrainSettings

ADDRESS, KEY = "SLIMMING_REPORT_ADDRESS", "SLIMMING_REPORT_KEY"
_SETTINGS_NAME = "distributed.json"
_LOOK_S = 0.5

Failure = TypedDict("Failure", {"kind": Literal["error"], "class": str, "text": str})
"""What ended the training: an exception of ``engine.base.errors`` and its sentence."""


class Outcome(TypedDict):
    """The fields of a ``TrainResult``, paths as text."""

    kind: Literal["result"]
    result: dict[str, Any]


Message = AnyEvent | Failure | Outcome
"""What the first process sends, one JSON text each."""
_Messages = queue.Queue[tuple[Message, Connection] | None]
"With the connection to answer on; None once the process has ended."


def run_distributed(settings: TrainSettings, task: str, report: Report) -> TrainResult:
    """Train with ``settings.world_size`` processes; errors as ``run_training``."""
    described = settings.save_dir / _SETTINGS_NAME
    write_text_atomic(described, json.dumps({"settings": settings.as_dict(), "task": task}))
    key = secrets.token_bytes(32)
    try:
        with Listener(authkey=key) as listener:
            environment = {
                **worker_environment(),
                ADDRESS: json.dumps(listener.address),
                KEY: key.hex(),
                "OMP_NUM_THREADS": str(max(compute_threads() // settings.world_size, 1)),
            }
            launcher = subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                    *("--nproc-per-node", str(settings.world_size)),
                    *("-m", "engine.training.rank", str(described)),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
            try:
                return _relay(_events(listener), launcher, report)
            finally:
                if launcher.poll() is None:
                    launcher.terminate()  # it ends the training processes, then itself
                    launcher.wait()
    finally:
        described.unlink(missing_ok=True)


def _events(listener: Listener) -> _Messages:
    """Return a queue that fills with what the first process sends."""
    received: _Messages = queue.Queue()

    def receive() -> None:
        try:
            with listener.accept() as connection:
                while True:
                    received.put((json.loads(connection.recv_bytes()), connection))
        except (OSError, EOFError):
            received.put(None)  # it has ended

    threading.Thread(target=receive, daemon=True).start()
    return received


def _relay(received: _Messages, launcher: subprocess.Popen, report: Report) -> TrainResult:
    """Pass events on, answer each with whether to stop, and return the result that comes last."""
    result: TrainResult | None = None
    while True:
        try:
            item = received.get(timeout=_LOOK_S)
        except queue.Empty:
            if launcher.poll() is not None:
                break
            continue
        if item is None:
            break
        event, connection = item
        if event["kind"] == "error":
            launcher.wait()
            raise getattr(errors, event["class"])(event["text"])
        if event["kind"] == "result":
            result = _result_from(event["result"])
            _answer(connection, b"go on")
            continue
        try:
            report(event)
            _answer(connection, b"go on")
        except StopRequested:
            _answer(connection, b"stop")
    code = launcher.wait()
    if result is None or code:
        raise TrainingError(f"A training process ended unexpectedly (exit code {code}); the log says more.")
    return result


def _answer(connection: Connection, text: bytes) -> None:
    with contextlib.suppress(OSError):  # it has ended, which shows when the next event is waited for
        connection.send_bytes(text)


def _result_from(values: dict[str, Any]) -> TrainResult:
    return TrainResult(**{**values, "best": Path(values["best"]), "last": Path(values["last"])})

"""One of several processes that train together: ``python -m engine.training.rank SETTINGS``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from engine.base.errors import StopRequested, WorkbenchError
from engine.base.events import silent
from engine.training.distributed import ADDRESS, KEY, Failure, Message
from engine.training.settings import TrainSettings


def _sender(connection: Connection) -> Callable[[Message], None]:
    def send(message: Message) -> None:
        connection.send_bytes(json.dumps(message).encode())
        if connection.recv_bytes() == b"stop":
            raise StopRequested

    return send


def _leave(distributed: Any) -> None:
    """Leave together: a process that goes while another still listens can take that one along."""
    distributed.barrier()
    distributed.destroy_process_group()


def main(arguments: list[str]) -> int:
    """Be one of the processes: train as the settings file says; the first one reports."""
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    from torch import distributed

    from engine.training.running import train_here

    described = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    settings, task = TrainSettings.from_dict(described["settings"]), described["task"]
    if os.environ["RANK"] != "0":
        train_here(settings, task, silent)
        _leave(distributed)
        return 0
    with Client(json.loads(os.environ[ADDRESS]), authkey=bytes.fromhex(os.environ[KEY])) as connection:
        try:
            result = train_here(settings, task, _sender(connection))
        except WorkbenchError as error:
            failure: Failure = {"kind": "error", "class": type(error).__name__, "text": str(error)}
            connection.send_bytes(json.dumps(failure).encode())
            return 1
        values = {**asdict(result), "best": str(result.best), "last": str(result.last)}
        _sender(connection)({"kind": "result", "result": values})
    _leave(distributed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

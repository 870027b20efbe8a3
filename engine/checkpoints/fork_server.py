"""A process that has PyTorch imported and forks a child for every request: Linux only.

It only imports: threads do not survive a fork, so a child of a process that has run an operation of PyTorch would hang.
For the same reason it is not this process, in which a server's threads run, that forks.

A request comes with a socket of its own. A keeper is forked for it, which forks the child, waits, kills it when its
time is over or nobody waits for it any more, and tells how it ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from engine.checkpoints.child_side import answer

MOST_REQUEST_BYTES = 1 << 20


def serve(control: socket.socket, preload: list[str]) -> None:
    """Fork a keeper for every socket that arrives, until the other side of ``control`` is closed."""
    for module in preload:
        importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            with contextlib.suppress(BaseException):
                control.close()
                _keep(socket.socket(fileno=descriptors[0]))
            os._exit(0)
        os.close(descriptors[0])


def _keep(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as stream:  # closed, or the child would hold the connection open
        request: dict[str, Any] = json.loads(stream.readline(MOST_REQUEST_BYTES))
    child = os.fork()
    if child == 0:
        try:
            connection.close()
            answer(request)
        finally:
            os._exit(0)
    expired = not _ended_in_time(child, connection, request["wall_s"])
    if expired:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    connection.sendall(json.dumps({"exit": os.waitstatus_to_exitcode(status), "expired": expired}).encode())


def _ended_in_time(child: int, connection: socket.socket, wall_s: float) -> bool:
    """Whether the child ended before its time was over, or the one who asked closed the connection."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle, connection.fileno()], [], [], wall_s)
        return handle in ready
    finally:
        os.close(handle)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])

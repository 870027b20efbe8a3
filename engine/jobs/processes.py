"""Processes told apart by pid and start time, and ended as whole trees."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator

import psutil

# Start times are read from the system clock, which may be adjusted; a pid does not come round again this quickly.
_SAME_START_S = 2.0
_POLL_S = 0.02


def start_time(pid: int) -> float | None:
    """Return when the process started, in seconds since the epoch; None when there is none, or only a zombie.

    A process that this user may not look at, which is never a worker of theirs, counts as started at 0.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0


def is_alive(pid: int, started_at: float) -> bool:
    """Whether the process ``pid`` that started at ``started_at`` still runs; a reused pid and a zombie do not count."""
    seen = start_time(pid)
    return seen is not None and abs(seen - started_at) < _SAME_START_S


def restarted_since(started_at: float) -> bool:
    """Whether the machine was started after ``started_at``."""
    return psutil.boot_time() > started_at + _SAME_START_S


def end_tree(pid: int, started_at: float, grace_s: float = 3.0) -> bool:
    """End a process, everything below it and everything in the session it leads; return whether all are gone.

    All are asked to end, then made to after ``grace_s`` seconds. Also ends what a process that is itself gone left
    behind in its session. Does nothing when ``pid`` belongs to another process by now.
    """
    tree = _tree(pid, started_at)
    _signal(tree, psutil.Process.terminate)
    _wait_gone(tree, grace_s)
    deadline = time.monotonic() + grace_s
    # Looked up again, because a process may have started another one before the signal reached it.
    while tree := _tree(pid, started_at, tree):
        if time.monotonic() > deadline:
            return False
        _signal(tree, psutil.Process.kill)
        _wait_gone(tree, 0.5)
    return True


def _tree(pid: int, started_at: float, known: Iterable[psutil.Process] = ()) -> list[psutil.Process]:
    """Return the live ones among the process, its session, those already ``known``, and the descendants of all."""
    roots = {*known, *_session_members(pid, started_at)}
    if is_alive(pid, started_at):
        with contextlib.suppress(psutil.NoSuchProcess):
            roots.add(psutil.Process(pid))
    found = set(roots)
    for process in roots:
        with contextlib.suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return [process for process in found if process.pid != os.getpid() and _runs(process)]


def _session_members(leader_pid: int, started_at: float) -> Iterator[psutil.Process]:
    """Yield the processes of the session that the worker leads or led; none where the system has no sessions."""
    seen = start_time(leader_pid)
    reused = seen is not None and abs(seen - started_at) >= _SAME_START_S
    if reused or restarted_since(started_at) or not hasattr(os, "getsid"):
        return
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader_pid and process.create_time() >= started_at - _SAME_START_S:
                yield process


def _signal(tree: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in tree:
        # psutil compares the start time again before it signals, so a reused pid is left alone.
        with contextlib.suppress(psutil.Error):
            send(process)


def _wait_gone(tree: Iterable[psutil.Process], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(_runs(process) for process in tree) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _runs(process: psutil.Process) -> bool:
    """Whether the process is there and not a zombie, which only waits for its parent to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

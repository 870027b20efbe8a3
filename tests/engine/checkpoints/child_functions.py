"""What tests have a child process do: answer, and everything that its bounds forbid."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import PlanError
from engine.recipes.format import RecipeError


def echo(scratch: Path, value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    return value, {"numbers": np.arange(6, dtype=np.float64).reshape(2, 3), "pid": np.array([os.getpid()])}


def modules(scratch: Path) -> tuple[Any, dict[str, np.ndarray]]:
    return sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "ultralytics"}), {}


def refuse(scratch: Path, sentence: str) -> Any:
    raise PlanError(sentence)


def refuse_as_recipe(scratch: Path, sentence: str) -> Any:
    raise RecipeError(sentence)


def fail(scratch: Path) -> Any:
    raise ZeroDivisionError("no sentence for a person")


def hog(scratch: Path) -> Any:
    return bytearray(4_000_000_000)[0], {}


def hog_tensor(scratch: Path) -> Any:
    import torch

    try:
        return torch.zeros(1_000_000_000).numel(), {}
    except RuntimeError as error:  # as the opening of a checkpoint wraps whatever a file provokes
        raise PlanError("something else") from error


def spin(scratch: Path) -> Any:
    while True:
        pass


def sleep(scratch: Path, seconds: float = 60) -> Any:
    time.sleep(seconds)
    return "slept", {}


def die(scratch: Path, number: int) -> Any:
    os.kill(os.getpid(), number)  # refused by the hook within bounds
    time.sleep(10)


def write_inside(scratch: Path, size: int) -> Any:
    (scratch / "aside").write_bytes(b"x" * size)
    os.replace(scratch / "aside", scratch / "kept")
    return (scratch / "kept").stat().st_size, {}


def reach_out(scratch: Path, way: str, path: str) -> Any:
    """Do one thing that is forbidden; ``path`` is a file outside, which exists."""
    ways = {
        "write": lambda: open(path, "w"),
        "append": lambda: open(path, "ab"),
        "update": lambda: open(path, "r+"),
        "descriptor": lambda: os.open(path, os.O_WRONLY | os.O_CREAT),
        "new": lambda: Path(path).with_name("new").write_text("x"),
        "through a link": lambda: (scratch / "link").write_text("x"),
        "relative": lambda: os.open("outside", os.O_WRONLY, dir_fd=os.open(os.path.dirname(path), os.O_RDONLY)),
        "remove": lambda: os.remove(path),
        "rename": lambda: os.rename(path, f"{path}.moved"),
        "replace": lambda: os.replace(path, scratch / "taken"),
        "truncate": lambda: os.truncate(path, 0),
        "chmod": lambda: os.chmod(path, 0o777),
        "folder": lambda: os.mkdir(f"{path}.d"),
        "symlink": lambda: os.symlink(path, f"{path}.l"),
        "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
        "socket": socket.socket,
        "resolve": lambda: socket.getaddrinfo("localhost", 80),
        "run": lambda: subprocess.run(["true"]),
        "system": lambda: os.system("true"),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "fork": os.fork,
        "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
        "limits": _raise_limits,
        "remove beside": lambda: _from_within(scratch, path, lambda beside: os.remove("outside", dir_fd=beside)),
        "rename beside": lambda: _from_within(
            scratch, path, lambda beside: os.rename(_new(scratch), "outside", dst_dir_fd=beside)
        ),
        "mode of a descriptor": lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o777),
        "times of a descriptor": lambda: os.utime(os.open(path, os.O_RDONLY)),
        "pipe": lambda: os.mkfifo(f"{path}.pipe"),
        "own library": lambda: ctypes.pythonapi.system(b"true"),
        "spawned": lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
        "signal": lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGCONT),
        "shared pages": lambda: mmap.mmap(-1, 4096),
        "shared memory": lambda: SharedMemory(create=True, size=4096).unlink(),
    }
    ways[way]()
    return "done", {}


def _from_within(scratch: Path, path: str, act: Callable[[int], Any]) -> None:
    """Do something in the folder of a path by names that, taken by themselves, lie in the folder of the child."""
    os.chdir(scratch)
    act(os.open(os.path.dirname(path), os.O_RDONLY))


def _new(scratch: Path) -> Path:
    (scratch / "new").write_text("worse")
    return scratch / "new"


def _raise_limits() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

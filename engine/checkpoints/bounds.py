"""What a child process may do while it opens a file: limits of the system, and a hook on what Python does.

The hook stands in front of Python's own functions. It holds against code that a checkpoint's classes run, and is the
second line: no pickle is loaded that may call functions of its choice (``engine.checkpoints.rehearsal``). It does not
hold against machine code.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_REFUSED = frozenset(
    "socket.__new__ socket.bind socket.connect socket.getaddrinfo socket.gethostbyname socket.gethostbyaddr "
    "socket.getnameinfo socket.sendmsg socket.sendto subprocess.Popen os.system os.exec os.posix_spawn os.spawn "
    "os.startfile os.fork os.forkpty os.kill os.killpg os.setxattr os.removexattr os.chown os.chflags os.lockf "
    "pty.spawn webbrowser.open ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle syslog.openlog ftplib.connect "
    "http.client.connect smtplib.connect "
    "urllib.Request winreg.CreateKey winreg.SetValue winreg.DeleteKey resource.setrlimit resource.prlimit "
    "signal.pthread_kill shutil.chown".split()
)
"Audit events of what opening a file never needs (https://docs.python.org/3/library/audit_events.html)."
_CHANGES = frozenset(
    "os.remove os.rename os.rmdir os.mkdir os.link os.symlink os.truncate os.chmod os.utime shutil.rmtree shutil.move "
    "shutil.copyfile shutil.copymode shutil.copystat shutil.copytree shutil.make_archive shutil.unpack_archive".split()
)
"Audit events of what changes the paths that it is given; allowed inside the scratch folder."
_BY_DESCRIPTOR = frozenset(["os.chmod", "os.utime"])
"Those that need no file that is open to be written to."
_SILENT = {
    "_posixsubprocess": ("fork_exec",),
    "subprocess": ("_fork_exec",),
    "_posixshmem": ("shm_open", "shm_unlink"),
    **dict.fromkeys(("os", "posix"), ("mkfifo", "mknod")),
    **dict.fromkeys(("signal", "_signal"), ("pidfd_send_signal",)),
}
"Module -> functions that reach beyond without an audit event."
_GRACE_S = 5
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NotAllowed(PermissionError):
    """What the child wanted to do, in words."""


def limit_resources(memory_bytes: int, cpu_s: int, output_bytes: int) -> None:
    """Bound this process for good, as far as the system can.

    Memory is held to on Linux, where RLIMIT_DATA counts what a process has of its own (RLIMIT_AS would count the
    address space, which is huge with PyTorch); CPU time, size of a file written and core dumps on every POSIX system;
    nothing on Windows.

    Args:
        memory_bytes: Beyond what the process has now.
        cpu_s: Seconds of CPU time beyond those used so far.
        output_bytes: Of each file that it writes.
    """
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + cpu_s
    # At the first limit of CPU time the system says so, at the second it kills without a word.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _GRACE_S))
    limits = {resource.RLIMIT_FSIZE: output_bytes, resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        limits[resource.RLIMIT_DATA] = _data_bytes() + memory_bytes
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def _data_bytes() -> int:
    """Return what counts against RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def forbid_outside(scratch: Path) -> None:
    """Refuse, in this process for good, whatever reaches beyond reading files and writing into one folder.

    Connections, processes, signals, native libraries and memory that is shared are refused altogether.
    """
    sys.dont_write_bytecode = True
    for module, names in _SILENT.items():
        for name in names:
            _shut(module, name)
    sys.addaudithook(_hook(os.path.realpath(scratch)))


def _shut(module: str, name: str) -> None:
    """Put a refusal in the place of a function, where this system has it."""

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise NotAllowed(f"use {name}")

    try:
        found = importlib.import_module(module)
    except ImportError:
        return
    if hasattr(found, name):
        setattr(found, name, refused)


def _hook(scratch: str) -> Callable[[str, tuple[Any, ...]], None]:
    real_path, inside = os.path.realpath, scratch + os.sep

    def allowed(path: Any) -> bool:
        path = os.fsdecode(path)
        if not os.path.isabs(path):  # it may be meant from a folder that the event does not tell
            return False
        real = real_path(path)
        return real == scratch or real.startswith(inside) or real == os.devnull

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & _WRITES) if isinstance(flags, int) else bool(set(mode or "") & set("wax+"))
            if writes and not (isinstance(path, int) or allowed(path)):  # a number: it is open already
                raise NotAllowed(f"write to {path}")
        elif event in _REFUSED or (event == "mmap.__new__" and arguments[0] == -1):  # pages that no limit counts
            raise NotAllowed(f"use {event}")
        elif event in _CHANGES and not all(allowed(path) for path in arguments if isinstance(path, (str, bytes))):
            raise NotAllowed(f"use {event}")
        elif event in _BY_DESCRIPTOR and isinstance(arguments[0], int):  # a file that is only read can be open
            raise NotAllowed(f"use {event}")

    return hook

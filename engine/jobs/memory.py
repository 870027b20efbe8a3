"""Whether Linux ended a process for want of memory while a job ran, where the system counts that readably.

The kernel counts, for each control group, the processes of the group that it ended because memory ran out. A worker
notes its group and the count when it starts; a larger count afterwards says that it happened to the worker or to
another process of its group. Without a readable count nothing is claimed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from engine.base.errors import StorageError
from engine.workspace.store import Store

_KIND = "started"
_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def note_count(store: Store, job_id: str, groups: Path = _GROUPS, mount: Path = _MOUNT) -> None:
    """Note among the job's events how often memory has run out in this process's group."""
    counter = _counter(groups, mount)
    count = None if counter is None else _count(counter)
    if count is not None:
        with contextlib.suppress(StorageError):  # no reason not to do the job
            store.append_events(job_id, [{"kind": _KIND, "counter": str(counter), "count": count}])


def ran_out(store: Store, job_id: str) -> bool:
    """Whether memory ran out in the group of the job's worker since it started; False when that is not known."""
    noted = next(iter(store.latest_events(job_id, _KIND)), None)
    if noted is None:
        return False
    count = _count(Path(noted.payload["counter"]))
    return count is not None and count > noted.payload["count"]


def _counter(groups: Path, mount: Path) -> Path | None:
    """Return the file that counts for this process, of control groups version 2 or 1; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "" or "memory" in controllers.split(","):
                folder = mount / "memory" if controllers else mount
                name = "memory.oom_control" if controllers else "memory.events"
                # In a container, the group is often named as the host sees it, and mounted at the top.
                for place in (folder / group.lstrip("/") / name, folder / name):
                    if _count(place) is not None:
                        return place
    return None


def _count(counter: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in counter.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None

"""Jobs: a verb that runs in a detached process of its own and reports through the store.

Nothing here knows what a verb does. Importing this package is light; PyTorch is imported by a worker alone, once its
turn has come.
"""

from engine.errors import StopRequested
from engine.jobs.control import delete, kill, reconcile, retry, stop, submit
from engine.jobs.logs import log_path, log_tail
from engine.jobs.pace import Progress, progress

__all__ = [
    "Progress",
    "StopRequested",
    "delete",
    "kill",
    "log_path",
    "log_tail",
    "progress",
    "reconcile",
    "retry",
    "stop",
    "submit",
]

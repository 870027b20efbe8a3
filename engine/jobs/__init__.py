"""Jobs: a verb that runs in a detached process of its own and reports through the store.

Nothing here knows what a verb does. Importing this package is light; PyTorch is imported by a worker alone, once its
turn has come.
"""

from engine.base.errors import StopRequested
from engine.jobs.chains import ChainStatus, ChainStep, advance, chain_status, restart_chain, start_chain
from engine.jobs.control import can_resume, delete, kill, resume, retry, stop
from engine.jobs.eta import Progress, progress
from engine.jobs.launching import submit
from engine.jobs.logs import log_path, log_tail
from engine.jobs.watching import reconcile

__all__ = [
    "ChainStatus",
    "ChainStep",
    "Progress",
    "StopRequested",
    "advance",
    "can_resume",
    "chain_status",
    "delete",
    "kill",
    "log_path",
    "log_tail",
    "progress",
    "reconcile",
    "restart_chain",
    "resume",
    "retry",
    "start_chain",
    "stop",
    "submit",
]

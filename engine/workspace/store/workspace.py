"""The store: one object for everything a workspace knows."""

from __future__ import annotations

import os
from pathlib import Path

from engine.base.files import expanded
from engine.workspace.store.chains import ChainRegistry
from engine.workspace.store.events import EventLog
from engine.workspace.store.facts import FactsLog
from engine.workspace.store.measurements import MeasurementLog
from engine.workspace.store.models import ModelRegistry
from engine.workspace.store.queue import JobQueue


class Store(ModelRegistry, JobQueue, ChainRegistry, EventLog, MeasurementLog, FactsLog):
    """The workspace in one folder: models, jobs, chains of jobs, what jobs report, measurements, and what files tell.

    Cheap to make and safe to share between threads and processes: every call opens its own short connection. Every
    call raises StorageError, in one sentence, when the folder or its database cannot be used.
    """


def default_workspace() -> Path:
    """Return the workspace folder of this process: PRUNE_WORKSPACE, else ``workspace`` in the current folder."""
    return expanded(os.environ.get("PRUNE_WORKSPACE") or "workspace").absolute()

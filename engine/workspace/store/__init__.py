"""The workspace: one folder with an SQLite registry of models and jobs, and their files beside it."""

from engine.workspace.store.measurements import StoredMeasurements
from engine.workspace.store.queue import PlaceTaken
from engine.workspace.store.records import (
    ACTIVE_STATES,
    FINISHED_STATES,
    MODEL_KINDS,
    UNFINISHED_ENDS,
    Chain,
    ChainPlace,
    Dependants,
    Event,
    Job,
    Model,
    Registered,
)
from engine.workspace.store.workspace import Store, default_workspace

__all__ = [
    "ACTIVE_STATES",
    "FINISHED_STATES",
    "MODEL_KINDS",
    "UNFINISHED_ENDS",
    "Chain",
    "ChainPlace",
    "Dependants",
    "Event",
    "Job",
    "Model",
    "PlaceTaken",
    "Registered",
    "Store",
    "StoredMeasurements",
    "default_workspace",
]

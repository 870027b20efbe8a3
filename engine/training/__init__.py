"""Training: Ultralytics' own trainers, extended through their hooks, never a fork.

One process on one CPU or GPU, or one process for each of several GPUs; stopped and killed runs can be resumed.
"""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily

if TYPE_CHECKING:
    from engine.training.batch import with_batch
    from engine.training.compared import Compared, compared_models
    from engine.training.resuming import named_fields, resumed_settings
    from engine.training.running import measure, run_training
    from engine.training.settings import TrainResult, TrainSettings, training_bytes
    from engine.training.trainers import TRAINERS

_HOMES = {
    "Compared": "compared",
    "TRAINERS": "trainers",
    "TrainResult": "settings",
    "TrainSettings": "settings",
    "compared_models": "compared",
    "measure": "running",
    "named_fields": "resuming",
    "resumed_settings": "resuming",
    "run_training": "running",
    "training_bytes": "settings",
    "with_batch": "batch",
}

__all__ = [
    "TRAINERS",
    "Compared",
    "TrainResult",
    "TrainSettings",
    "compared_models",
    "measure",
    "named_fields",
    "resumed_settings",
    "run_training",
    "training_bytes",
    "with_batch",
]

__getattr__ = lazily(__name__, _HOMES)

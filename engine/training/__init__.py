"""Training: Ultralytics' own trainers, extended through their hooks, never a fork.

One process on one CPU or GPU, or one process for each of several GPUs; stopped and killed runs can be resumed.
"""

from engine.training.batch import with_batch
from engine.training.compared import Compared, compared_models
from engine.training.resuming import named_fields, resumed_settings
from engine.training.running import measure, run_training
from engine.training.settings import TrainResult, TrainSettings, training_bytes
from engine.training.trainers import TRAINERS

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

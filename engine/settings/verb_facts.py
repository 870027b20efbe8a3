"""What is known of the verbs without running one. Imports nothing, so that pages and waiting workers stay light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.settings.choices import IMAGE_CRITERIA

TRAINING = ("train", "sparsify", "finetune")
"Keep a checkpoint of every epoch, and can go on from the last one."
MEASURING = (*TRAINING, "val", "compare")
"Look at the images of a data set, and need a device for themselves alone."
TAKES_DATA = (*MEASURING, "prune", "export")
TAKES_DEVICE = MEASURING
TAKES_ARGUMENTS = (*TRAINING, "val")
"Take Ultralytics' own arguments as well, see ``engine.settings.arguments``."
TRACKERS = ("tensorboard", "mlflow", "wandb", "comet", "clearml", "dvc")
"Experiment trackers that Ultralytics can record a training with."
MODEL_MAKERS = ("train", "sparsify", "prune", "finetune")
"Their result is what the next step of a recipe works on."
STEP_VERBS = (*MODEL_MAKERS, "val", "compare", "export")
"What a step of a recipe can be."
WORDS = {
    "prune": "Pruning",
    "train": "Training",
    "sparsify": "Sparse training",
    "finetune": "Fine-tuning",
    "val": "Validation",
    "compare": "Comparison",
    "export": "Export",
}
"What a person calls it."


def verb_word(verb: str) -> str:
    """Return what a verb does, as a person says it."""
    return WORDS.get(verb, verb.capitalize())


def needs_data(verb: str, settings: Mapping[str, Any]) -> bool:
    """Whether a verb with these settings cannot run without a data set."""
    return verb in MEASURING or bool(settings.get("recalibrate")) or settings.get("criterion") in IMAGE_CRITERIA

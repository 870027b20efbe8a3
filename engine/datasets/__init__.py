"""Check YOLO data sets, and draw the demo set."""

from engine.datasets.check import check_dataset, image_files, label_files, resolved_yaml, spread, training_images
from engine.datasets.demo import DEMO_TRAINING, DemoTraining, make_demo_dataset
from engine.datasets.info import DatasetInfo

__all__ = [
    "DEMO_TRAINING",
    "DatasetInfo",
    "DemoTraining",
    "check_dataset",
    "image_files",
    "label_files",
    "make_demo_dataset",
    "resolved_yaml",
    "spread",
    "training_images",
]

"""Check YOLO data sets, and draw the demo set."""

from engine.datasets.check import check_dataset, image_files, label_files, resolved_yaml, spread, training_images
from engine.datasets.downloading import described_in, download, fetch_if_missing, is_under_way
from engine.datasets.info import DatasetInfo
from engine.datasets.shipped import MissingImages, Offer, download_folder, is_shipped, offer_of, shipped_description

__all__ = [
    "DatasetInfo",
    "MissingImages",
    "Offer",
    "check_dataset",
    "described_in",
    "download",
    "download_folder",
    "fetch_if_missing",
    "image_files",
    "is_shipped",
    "is_under_way",
    "label_files",
    "offer_of",
    "resolved_yaml",
    "shipped_description",
    "spread",
    "training_images",
]

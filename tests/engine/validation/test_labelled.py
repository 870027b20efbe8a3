"""Labelled images for criteria: every task's own loader, from a copy, and the loss that they give."""

import numpy as np
import pytest
import torch

from engine.base.errors import TrainingError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.datasets import check_dataset, image_files
from engine.pruning.criteria import Context, channel_scores
from engine.pruning.graph import trace
from engine.validation.labelled import BATCH, labelled_batches
from tests.shapes import SIZE, draw_shapes, narrow, write_narrow
from tests.tasks import write_data, write_model


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "classify", "semantic", "depth"])
def test_every_task_reads_its_labels_and_gives_gradients(task, tmp_path):
    if task in ("classify", "semantic", "depth"):
        weights, data = write_model(task, tmp_path / "model.pt"), write_data(task, tmp_path / "set")
    else:
        data = draw_shapes(tmp_path / "set", task, images=9)
        weights = write_narrow(narrow(task), tmp_path / "model.pt")
    before, checkpoint, info = files_below(tmp_path / "set"), open_checkpoint(weights), check_dataset(data, task)
    batches = labelled_batches(checkpoint, info, image_files(info, "train"))
    for _ in range(2):  # from the first one at every call
        images = [batch["img"] for batch in batches()]
        assert [len(each) for each in images] == [BATCH, 1] and images[0].shape[1:] == (3, SIZE, SIZE)
        assert all(each.dtype == torch.float32 and 0 <= each.min() < each.max() <= 1 for each in images)
    graph = trace(checkpoint.model)
    scores = np.concatenate(channel_scores("taylor", Context(graph, checkpoint.model, batches=batches)))
    assert np.isfinite(scores).all() and (scores > 0).mean() > 0.5
    assert files_below(tmp_path / "set") == before, "nothing is written beside a person's images"


def test_labels_are_those_of_the_images(tmp_path):
    info = check_dataset(draw_shapes(tmp_path / "set", "detect"), "detect")
    checkpoint = open_checkpoint(write_narrow(narrow("detect"), tmp_path / "model.pt"))
    chosen = [path for path in image_files(info, "train") if path.stem in "357"]
    (batch,) = labelled_batches(checkpoint, info, chosen)()
    rows = [(tmp_path / "set" / "labels" / f"{path.stem}.txt").read_text().split() for path in chosen]
    assert batch["batch_idx"].tolist() == [0, 1, 2]
    assert batch["cls"].flatten().tolist() == [float(row[0]) for row in rows]
    assert batch["bboxes"].numpy() == pytest.approx(np.array([row[1:] for row in rows], dtype=float), abs=1e-4)


def test_a_task_without_a_loss_is_refused(tmp_path):
    info = check_dataset(draw_shapes(tmp_path / "set", "detect"), "detect")
    checkpoint = open_checkpoint(write_narrow(narrow("detect"), tmp_path / "model.pt"))
    object.__setattr__(checkpoint, "task", "reid")
    with pytest.raises(TrainingError, match="not trained"):
        labelled_batches(checkpoint, info, image_files(info, "train"))

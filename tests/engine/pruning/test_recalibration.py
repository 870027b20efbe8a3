"""Recalibration: BatchNorm statistics become those of the given images, and nothing else changes."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from engine.base.errors import DatasetError
from engine.pruning.recalibration import BATCH, recalibrate
from tests.models import build, image, run
from tests.nets import block, head, net

IMGSZ = 64


@pytest.fixture
def images(tmp_path):
    """Return a function that writes random square images, whose letterbox is the image itself."""

    def write(count):
        random = np.random.default_rng(0)
        paths = [tmp_path / f"{index} ä.png" for index in range(count)]
        for path in paths:
            low, high = np.sort(random.integers(0, 256, 2))
            pixels = random.integers(low, high + 1, (IMGSZ, IMGSZ, 3), dtype=np.uint8)
            path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        return paths

    return write


def as_inputs(paths):
    """Return images as (N, 3, H, W) RGB from 0 to 1, read in another way than the product does."""
    pixels = [cv2.cvtColor(cv2.imdecode(np.fromfile(path, np.uint8), 1), cv2.COLOR_BGR2RGB) for path in paths]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture
def model():
    made = net(lambda m, x: m.head(m.b(m.a(x))), a=block(3, 8, s=2), b=block(8, 6), head=head(6))
    made.a.bn.momentum, made.a.bn.eps = 0.07, 1e-3
    made.b.bn.momentum, made.b.bn.eps = 0.02, 1e-4
    return made


@pytest.mark.parametrize("count", [3, BATCH, 2 * BATCH + 3])
def test_statistics_are_the_plain_mean_over_the_batches(model, images, count):
    paths = images(count)
    batches = [as_inputs(paths[start : start + BATCH]) for start in range(0, count, BATCH)]
    renewed = recalibrate(model, paths, IMGSZ)
    with torch.no_grad():
        first = [model.a.conv(batch) for batch in batches]
        second = [  # behind the first norm, which uses the statistics of each batch
            model.b.conv(model.a.act(nn.functional.batch_norm(
                maps, None, None, model.a.bn.weight, model.a.bn.bias, True, eps=model.a.bn.eps
            )))
            for maps in first
        ]  # fmt: skip
    for norm, maps in ((renewed.a.bn, first), (renewed.b.bn, second)):
        mean = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in maps]).mean(dim=0)
        variance = torch.stack([batch.var(dim=(0, 2, 3)) for batch in maps]).mean(dim=0)
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-6)


def test_everything_else_is_kept_and_the_model_itself_unchanged(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    renewed = recalibrate(model, images(2), IMGSZ)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
        if "running" not in name and "tracked" not in name:
            assert torch.equal(renewed.state_dict()[name], value), name
    for norm, original in ((renewed.a.bn, model.a.bn), (renewed.b.bn, model.b.bn)):
        assert (norm.momentum, norm.eps) == (original.momentum, original.eps)
        assert not torch.allclose(norm.running_mean, original.running_mean)
    assert not any(module.training for module in [*renewed.modules(), *model.modules()])


def test_recalibrating_again_changes_nothing_more(model, images):
    paths = images(3)
    once = recalibrate(model, paths, IMGSZ)
    again = recalibrate(once, paths, IMGSZ)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_a_real_model_sees_images_of_any_shape(tmp_path):
    path = tmp_path / "wide.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.full((37, 120, 3), 90, np.uint8))[1].tobytes())
    renewed = recalibrate(build("yolov8n"), [path, path], 128)
    assert all(torch.isfinite(tensor).all() for tensor in renewed.state_dict().values())
    assert torch.isfinite(run(renewed, image(renewed, 64))[0]).all()


def test_without_images_it_is_refused(model):
    with pytest.raises(DatasetError, match="needs training images"):
        recalibrate(model, [], IMGSZ)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\nbroken", None, "folder"])
def test_an_image_that_cannot_be_read_is_named_in_a_sentence(model, images, tmp_path, content):
    path = tmp_path / "bad.png"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.png") as refusal:
        recalibrate(model, [*images(1), path], IMGSZ)
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")

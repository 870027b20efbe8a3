"""Grey and multispectral images: wherever images are read, with the model's channels, as Ultralytics reads them."""

import base64
import json
import re
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.data import YOLODataset

from engine.base.errors import DatasetError
from engine.base.images import read_input, read_pixels, to_jpeg, viewable
from engine.datasets import check_dataset
from engine.export import ExportSettings, export_model
from engine.validation.detections import find_boxes, open_predictor
from engine.validation.impact.blocks import blocks_of
from engine.verbs import run_verb
from tests.shapes import NAMES, SIZE, draw_shapes, learnt

SIZES = ((SIZE, SIZE), (48, 100), (100, 48))
BANDS = np.random.default_rng(0)


def write(path: Path, height: int, width: int, bands: int, dtype=np.uint8) -> Path:
    """Write noise of some bands: several pages of a TIFF where no other file would hold them."""
    pixels = BANDS.integers(0, np.iinfo(dtype).max, (height, width, bands), dtype=dtype)
    if path.suffix == ".tif" and bands not in (1, 3, 4):
        cv2.imwritemulti(str(path), list(pixels.transpose(2, 0, 1)))
    else:
        cv2.imwrite(str(path), pixels[..., 0] if bands == 1 else pixels)
    return path


def as_validated(path: Path, channels: int) -> np.ndarray:
    """Return (1, C, SIZE, SIZE) that Ultralytics' own data set shows a validator."""
    label = Path(str(path.with_suffix(".txt")).replace("/images/", "/labels/"))
    label.parent.mkdir(exist_ok=True)
    label.write_text("0 0.5 0.5 0.4 0.4\n")
    shown = YOLODataset(
        img_path=str(path.parent), data={"names": NAMES, "channels": channels}, task="detect", imgsz=SIZE,
        augment=False, rect=False, hyp=get_cfg(overrides={"task": "detect", "imgsz": SIZE}),
    )  # fmt: skip
    return shown[0]["img"].numpy()[None].astype(np.float32) / 255


@pytest.mark.parametrize("size", SIZES, ids=["square", "wide", "tall"])
@pytest.mark.parametrize(
    ("name", "bands", "dtype", "channels"),
    [
        ("grey.png", 1, np.uint8, 1),
        ("colour.png", 3, np.uint8, 1),
        ("colour.jpg", 3, np.uint8, 3),
        ("grey.png", 1, np.uint8, 3),
        ("alpha.png", 4, np.uint8, 3),
        ("alpha.png", 4, np.uint8, 4),
        ("deep.png", 1, np.uint16, 1),
        ("pages.tif", 2, np.uint8, 2),
        ("pages.tif", 5, np.uint8, 5),
        ("pages.tif", 7, np.uint16, 7),
        ("near infrared.tif", 4, np.uint8, 4),
        ("pages.tif", 5, np.uint8, 1),
        ("Größe [1].png", 3, np.uint8, 3),
    ],
)
def test_an_image_is_read_as_ultralytics_own_data_set_reads_it(tmp_path, name, bands, dtype, channels, size):
    (tmp_path / "images").mkdir()
    path = write(tmp_path / "images" / name, *size, bands, dtype)
    ours = read_input(path, channels, SIZE, SIZE)
    assert ours.shape == (1, channels, SIZE, SIZE) and ours.dtype == np.float32 and ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, as_validated(path, channels))


@pytest.mark.parametrize(("bands", "channels"), [(3, 4), (4, 5), (1, 2)])
def test_an_image_of_other_channels_is_named_in_one_sentence(tmp_path, bands, channels):
    path = write(tmp_path / "other.png", 20, 30, bands)
    counted = "1 channel" if bands == 1 else f"{bands} channels"
    with pytest.raises(DatasetError, match=rf"other\.png has {counted}, but the model takes images of {channels} ch"):
        read_pixels(path, channels)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_any_image_can_be_looked_at(bands):
    dark = BANDS.integers(3, 9, (30, 50, bands), dtype=np.uint8)
    shown = viewable(dark)
    assert shown.shape == (30, 50, 3) and shown.dtype == np.uint8
    if bands in (1, 3):
        np.testing.assert_array_equal(shown, np.broadcast_to(dark, shown.shape))
    else:  # what a sensor records may lie in a few values of 256
        assert shown.min() == 0 and shown.max() == 255
    jpeg = cv2.imdecode(np.frombuffer(to_jpeg(shown, 25, 90), np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.shape == (15, 25, 3)


def test_a_band_without_contrast_or_numbers_can_be_looked_at():
    flat = np.zeros((4, 4, 5), np.float32)
    flat[0, 0] = np.nan
    assert not viewable(flat).any()


@pytest.fixture(scope="module", params=[1, 4], ids=["grey", "multispectral"])
def seen(request, tmp_path_factory) -> tuple[Path, Path, int]:
    """(weights, data.yaml, channels) of a model that has learnt to find what such images show."""
    folder = tmp_path_factory.mktemp(f"channels{request.param}")
    data = draw_shapes(folder / "set", "detect", channels=request.param)
    return learnt(data, "detect", folder / "best.pt", channels=request.param), data, request.param


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_grey_and_multispectral_models_are_exported_and_held_to_their_own_images(seen, tmp_path, precision):
    weights, data, channels = seen
    result = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE, precision=precision, data=data))
    assert result.input_shape == (1, channels, SIZE, SIZE)
    assert result.images_compared == 10 and result.boxes_expected >= 8
    assert result.box_share >= 0.6  # a model this narrow loses more to 8 bits than one in use
    if precision != "int8":
        assert not [gate for gate in result.gates if gate.passed is False and gate.name != "latency"]


def test_grey_and_multispectral_models_are_recalibrated_on_their_own_images(seen, tmp_path):
    weights, data, _ = seen
    asked = {"weights": str(weights), "prune_ratio": 0.3, "imgsz": SIZE, "criterion": "gamma"}
    plain = run_verb("prune", {**asked, "save_dir": str(tmp_path / "plain")})
    renewed = run_verb("prune", {**asked, "save_dir": str(tmp_path), "recalibrate": 8, "data": str(data)})
    first, second = (torch.load(each["pruned"], weights_only=False)["model"].state_dict() for each in (plain, renewed))
    changed = [name for name in first if not torch.equal(first[name], second[name])]
    assert changed and all(name.rpartition(".")[2].startswith("running") for name in changed if "tracked" not in name)


@pytest.mark.parametrize("verb", ["accuracy", "sensitivity"])
def test_accuracy_after_pruning_is_measured_on_grey_and_multispectral_images(seen, tmp_path, verb, monkeypatch):
    weights, data, _ = seen
    module = import_module("engine.validation.impact.by_block")  # the package gives its function that name
    monkeypatch.setattr(module, "blocks_of", lambda *given: blocks_of(*given)[:1])
    asked = {"weights": str(weights), "data": str(data), "imgsz": SIZE, "device": "cpu", "save_dir": str(tmp_path)}
    asked |= {"images": 4, "recalibrate": 4, "batch": 4}
    asked |= {"ratios": [0.3]} if verb == "accuracy" else {"shares": [0.5]}
    result = run_verb(verb, asked)
    assert result["dense"]["mAP50-95"] > 0.3


def test_boxes_are_found_and_drawn_on_grey_and_multispectral_images(seen, tmp_path):
    weights, data, channels = seen
    image = sorted((data.parent / "images").iterdir())[0]
    predictor = open_predictor(weights)
    assert predictor.channels == channels and len(find_boxes(predictor, image, SIZE, 0.25)) >= 1
    page = Path(run_verb("report", {"weights": str(weights), "data": str(data), "save_dir": str(tmp_path)})["report"])
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page.read_text(encoding="utf-8"))
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_COLOR) for each in pictures]
    assert len(decoded) == 6 and all(picture.shape == (SIZE, SIZE, 3) for picture in decoded)
    assert all(picture.std() > 10 for picture in decoded)


@pytest.mark.parametrize("verb", ["val", "accuracy", "prune", "export"])
def test_a_data_set_of_other_channels_than_the_model_takes_is_one_sentence(seen, tmp_path, verb):
    weights, _, channels = seen
    other = draw_shapes(tmp_path / "set", "detect", images=2)
    asked = {
        "weights": str(weights),
        "data": str(other),
        "imgsz": SIZE,
        "save_dir": str(tmp_path / "o"),
    }
    if verb in ("val", "accuracy"):
        asked["device"] = "cpu"
    if verb == "prune":
        asked |= {"prune_ratio": 0.3, "recalibrate": 2}
    with pytest.raises(DatasetError, match=rf"takes images of {channels} channels?, and those of the data set have 3"):
        run_verb(verb, asked)
    assert not list(tmp_path.glob("o/*.*"))


@pytest.mark.parametrize("channels", [0, -1, True, "three", 1.5])
def test_channels_that_are_no_number_are_refused_where_the_data_set_is_checked(tmp_path, channels):
    data = draw_shapes(tmp_path / "set", "detect", images=2)
    assert check_dataset(data).channels == 3
    data.write_text(json.dumps({**json.loads(data.read_text()), "channels": channels}))
    with pytest.raises(DatasetError, match=r"'channels' in data\.yaml is .*; it must be the number of channels"):
        check_dataset(data)

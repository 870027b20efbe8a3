"""Models with an end-to-end head (YOLOv10, YOLO26) are exported with it, or on request with the other one."""

import numpy as np
import onnx
import pytest
import torch
from ultralytics.nn.tasks import DetectionModel, OBBModel, SegmentationModel

from engine.base.errors import ExportError
from engine.base.images import read_input
from engine.base.runtime import import_ultralytics
from engine.checkpoints.checkpoint import open_checkpoint
from engine.export import ExportSettings, export_model
from engine.export.rows import compare_rows
from engine.recipes import RecipeError
from engine.recipes.format import recipe_from_dict
from engine.runtimes.backends import open_backend
from engine.verbs import run_verb
from tests.models import build, randomise, write_checkpoint
from tests.shapes import NAMES, SIZE, draw_shapes, fit, write_narrow
from tests.short import short

MODELS = {
    "detect 26": (DetectionModel, "detect"),
    "detect 10": (DetectionModel, "detect"),
    "segment 26": (SegmentationModel, "segment"),
    "obb 26": (OBBModel, "obb"),
}


def two_headed(name: str):
    """Return a narrow model for the drawn classes, with seeded weights."""
    torch.manual_seed(0)
    loader, task = MODELS[name]
    model = randomise(loader(short(name, width=0.125), nc=len(NAMES), verbose=False)).eval()
    model.names, model.task = NAMES, task
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that gives (weights, data.yaml, images) of a model, trained once, on first use."""
    known = {}

    def of(name: str):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            data = draw_shapes(folder / "set", MODELS[name][1])
            model = fit(two_headed(name), data, steps=120)
            known[name] = write_narrow(model, folder / "best.pt"), data, sorted((folder / "set" / "images").iterdir())
        return known[name]

    return of


def gate(result, name):
    return next(each for each in result.gates if each.name == name)


def said_end2end(path) -> str:
    return next(entry.value for entry in onnx.load(str(path)).metadata_props if entry.key == "end2end")


@pytest.mark.parametrize("name", ["detect 26", "detect 10"])
def test_a_model_designed_without_nms_is_exported_end_to_end_and_finds_what_ultralytics_finds(trained, tmp_path, name):
    weights, data, images = trained(name)
    result = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE, data=data))
    assert result.head == "end2end" and said_end2end(result.path) == "True"
    assert result.output_shapes == ((1, 68, 6),)  # as many as two levels of 64 x 64 pixels give
    assert result.passed, [each.text for each in result.gates]
    assert gate(result, "difference").passed and gate(result, "boxes").value == 1.0
    assert result.boxes_expected >= len(images)
    run, model = open_backend(result.path, "onnx"), import_ultralytics().YOLO(str(weights))
    for image in images:
        rows = run(read_input(image, 3, SIZE, SIZE))[0][0]
        stock = model.predict(str(image), imgsz=SIZE, nms=False, conf=0.25, device="cpu", verbose=False)[0].boxes.data
        np.testing.assert_allclose(rows[rows[:, 4] > 0.25], stock.numpy(), atol=1e-2)


def test_the_other_head_is_exported_where_it_is_asked_for_and_where_boxes_are_to_be_suppressed(trained, tmp_path):
    weights, data, images = trained("detect 26")
    asked = {"one-to-many": {"head": "one-to-many"}, "suppressed": {"nms": True}}
    made = {
        name: export_model(weights, tmp_path / f"{name}.onnx", ExportSettings(SIZE, data=data, **options))
        for name, options in asked.items()
    }
    for result in made.values():
        assert result.head == "one-to-many" and said_end2end(result.path) == "False"
        assert gate(result, "boxes").passed and result.boxes_expected >= len(images)
    assert made["one-to-many"].output_shapes == ((1, 6, 68),)
    assert made["suppressed"].nms and made["suppressed"].output_shapes[0][2] == 6


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("detect 26", {"precision": "fp16"}),
        ("detect 26", {"precision": "int8"}),
        ("detect 10", {"precision": "int8"}),
        ("detect 26", {"format": "torchscript"}),
        ("detect 26", {"dynamic": True}),
        pytest.param("segment 26", {}, marks=pytest.mark.slow),
        pytest.param("obb 26", {"precision": "fp16"}, marks=pytest.mark.slow),
    ],
)
def test_every_form_of_an_end_to_end_file_is_held_to_its_gates(trained, tmp_path, name, options):
    weights, data, images = trained(name)
    settings = ExportSettings(SIZE, data=data, **options)
    suffix = ".torchscript" if settings.format == "torchscript" else ".onnx"
    result = export_model(weights, tmp_path / f"model{suffix}", settings)
    places = sum((SIZE // int(stride)) ** 2 for stride in open_checkpoint(weights).model.stride)
    assert result.head == "end2end" and result.output_shapes[0][1] == places
    assert result.boxes_expected >= len(images) and result.box_share >= 0.6
    if settings.precision != "fp32":  # of the same head, on both sides
        assert gate(result, "accuracy").value > 0.3
        stock = import_ultralytics().YOLO(str(weights), task=MODELS[name][1]).val(
            data=str(data), imgsz=SIZE, batch=1, rect=False, nms=False, device="cpu", plots=False, verbose=False,
            workers=0, project=str(tmp_path), name="val",
        )  # fmt: skip
        assert result.accuracy["mAP50-95 fp32"] == pytest.approx(float(stock.box.map), abs=1e-6)
    if settings.precision != "int8":
        assert gate(result, "difference").passed and gate(result, "boxes").passed


def test_a_pruned_model_keeps_both_heads_and_exports_either(trained, tmp_path):
    weights, _, _ = trained("detect 26")
    asked = {"weights": str(weights), "prune_ratio": 0.3, "imgsz": SIZE, "save_dir": str(tmp_path)}
    pruned = run_verb("prune", asked)["pruned"]
    head = open_checkpoint(pruned).model.model[-1]
    assert head.cv2 is not None and head.one2one_cv2 is not None
    for name in ("end2end", "one-to-many"):
        spec = {"weights": pruned, "imgsz": SIZE, "head": name, "name": name, "save_dir": str(tmp_path)}
        result = run_verb("export", spec)
        assert result["head"] == name and result["passed"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("yolov8n", {"head": "end2end"}, r"yolov8n\.pt has no end-to-end head, which YOLOv10 and YOLO26 have"),
        ("yolov8n-cls", {"head": "end2end"}, "has no end-to-end head"),
        ("yolo26n", {"head": "end2end", "nms": True}, "nothing to suppress; leave out the suppression"),
        ("rtdetr-l", {"nms": True}, r"rtdetr-l\.pt puts out final boxes by design"),
    ],
)
def test_a_head_that_a_model_lacks_is_refused_in_one_sentence_before_anything_runs(tmp_path, name, options, sentence):
    weights = write_checkpoint(build(name), tmp_path / f"{name}.pt")
    with pytest.raises(ExportError, match=sentence):
        run_verb("export", {"weights": str(weights), "imgsz": SIZE, "save_dir": str(tmp_path / "out"), **options})
    assert not (tmp_path / "out").exists()


def test_a_model_with_one_head_has_no_head_to_name(tmp_path):
    weights = write_checkpoint(build("yolov8n"), tmp_path / "one.pt")
    result = export_model(weights, tmp_path / "one.onnx", ExportSettings(SIZE, head="one-to-many"))
    assert result.head == "" and result.passed and result.output_shapes == ((1, 84, 84),)


def test_recipes_take_the_head_as_the_terminal_does():
    recipe = recipe_from_dict({"steps": [{"export": {"head": "one-to-many"}}]})
    assert recipe.steps[0].settings == {"head": "one-to-many"}
    with pytest.raises(RecipeError, match="one of end2end, one-to-many"):
        recipe_from_dict({"steps": [{"export": {"head": "both"}}]})


def rows(count: int = 40) -> np.ndarray:
    """Return (1, count, 6) final boxes, the best first."""
    random = np.random.default_rng(0)
    boxes = random.uniform(0, 600, (count, 4))
    scores = np.sort(random.uniform(0.01, 0.9, count))[::-1]
    return np.column_stack([boxes, scores, random.integers(0, 3, count)])[None].astype(np.float32)


def test_final_boxes_in_another_order_are_the_same():
    expected = rows()
    expected[0, 5:8, 4] = 0.4  # which of equals comes first is for the runtime to decide
    assert compare_rows(expected, expected[:, ::-1])[1] == 0
    last = expected.copy()
    last[0, -1] = [1, 2, 3, 4, expected[0, -1, 4], 0]  # and which one is the last to come at all
    assert compare_rows(expected, last)[1] == 0


@pytest.mark.parametrize(
    ("column", "change", "least"), [(0, 6.0, 0.009), (4, -0.05, 0.02), (5, 1, 0.05)], ids=["place", "score", "class"]
)
def test_final_boxes_of_another_place_score_or_class_differ(column, change, least):
    expected = rows()
    got = expected.copy()
    got[0, 3, column] += change
    differences, largest = compare_rows(expected, got)
    assert largest >= least and np.isfinite(differences).all()
    assert compare_rows(expected, expected)[1] == 0


def test_a_model_that_finds_nothing_has_only_scores_to_compare():
    silent = rows()
    silent[..., 4] = 1e-5
    differences, largest = compare_rows(silent, np.roll(silent, 7, axis=1))
    assert largest == 0 and len(differences) == silent.shape[1]

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from engine.base import numbers
from engine.base.errors import CheckpointError, DatasetError, ExportError, StorageError
from engine.base.runtime import import_ultralytics
from engine.export import ExportSettings, available_formats, export_model
from engine.export.gates import DIFFERENCE_LIMITS
from engine.settings.results import dumped, parsed
from tests.results import written

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "demo" / "yolov8n-harbour.pt"
TOLERANCE = DIFFERENCE_LIMITS["fp32"]
SHARED = Path(__file__).resolve().parents[3].parent / "shared"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """An ordinary YOLOv8n checkpoint with random weights and lively BatchNorm statistics."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    model.names = {0: "square", 1: "disc"}
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}}, path)
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gate(result, name):
    """Return the gate of that name, None where the export had none."""
    return next((each for each in result.gates if each.name == name), None)


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


@pytest.fixture(scope="module")
def harbour(tmp_path_factory) -> Path:
    """The data.yaml of a small drawn data set that the demo checkpoint was made for."""
    from engine.demo.dataset import make_demo_dataset

    return Path(make_demo_dataset(tmp_path_factory.mktemp("data") / "harbour", train=12, val=6))


def test_the_exported_file_computes_what_the_checkpoint_computes(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = _digest(weights)
    events = []
    path = tmp_path / "exports" / "small.onnx"
    result = export_model(weights, path, ExportSettings(64), report=events.append)
    assert result.path == path
    assert result.size_mb == path.stat().st_size / 1e6
    assert result.imgsz == (64, 64)
    assert result.input_shape == (1, 3, 64, 64)
    assert result.output_shapes == ((1, 6, 84),)
    assert result.images_compared == 2
    assert 0 <= result.mean_abs_difference <= result.max_abs_difference < 0.05
    assert result.max_rel_difference <= TOLERANCE
    assert result.passed
    assert gate(result, "checker").passed and gate(result, "difference").passed and gate(result, "size").passed
    assert json.loads(json.dumps(dumped(result)))["path"] == str(path)
    assert [event["kind"] for event in events] == ["status"] * len(events)
    assert _digest(weights) == before
    assert list(weights.parent.iterdir()) == [weights]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["small.onnx"]


def test_the_file_says_what_it_holds_and_where_it_comes_from(weights, tmp_path):
    result = export_model(weights, tmp_path / "small.onnx", ExportSettings(64, opset=17))
    said = metadata(result.path)
    assert said["task"] == "detect"
    assert "square" in said["names"]
    assert said["stride"] == "32" and said["imgsz"] == "[64, 64]"
    assert said["slimming.parent"] == _digest(weights)
    assert said["slimming.made_by"] == "YOLO Slimming Workbench"
    assert not any(str(weights.parent) in value for value in said.values())
    assert result.opset == 17
    predictions = (
        import_ultralytics()
        .YOLO(str(result.path), task="detect")
        .predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, device="cpu", save=False, verbose=False)
    )
    assert predictions[0].names == {0: "square", 1: "disc"}


def test_a_dynamic_file_is_also_compared_on_two_images_of_another_size(weights, tmp_path):
    settings = ExportSettings((64, 96), dynamic=True, simplify=False)
    result = export_model(weights, tmp_path / "any.onnx", settings)
    assert result.imgsz == (64, 96)
    assert result.dynamic
    assert result.images_compared == 4
    dimensions = onnx.load(str(result.path)).graph.input[0].type.tensor_type.shape.dim
    assert [dimension.dim_param for dimension in dimensions] == ["batch", "", "height", "width"]


def test_real_images_join_the_comparison(weights, tmp_path):
    image = tmp_path / "Größe.png"
    cv2.imencode(".png", np.full((40, 90, 3), 120, np.uint8))[1].tofile(image)
    result = export_model(weights, tmp_path / "small.onnx", ExportSettings(64), images=[image])
    assert result.images_compared == 3


def test_a_failed_gate_says_by_how_much_and_the_file_is_there_to_take(weights, tmp_path):
    events = []
    path = tmp_path / "small.onnx"
    result = export_model(weights, path, ExportSettings(64), tolerance=0, report=events.append)
    failed = gate(result, "difference")
    assert failed.passed is False and failed.limit == 0 and failed.value > 0
    assert numbers.short(failed.value) in failed.text
    assert not result.passed and dumped(result)["passed"] is False
    assert "FAILED: difference" in events[-1]["text"]
    onnx.checker.check_model(str(path))


def test_strict_turns_a_failed_gate_into_an_error_that_names_it(weights, tmp_path, monkeypatch):
    from engine.export import gates
    from engine.verbs import run_verb

    monkeypatch.setitem(gates.DIFFERENCE_LIMITS, "fp32", 0.0)
    spec = {"weights": str(weights), "imgsz": 64, "save_dir": str(tmp_path)}
    result = run_verb("export", spec)
    assert result["passed"] is False
    assert Path(result["onnx"]).is_file()
    with pytest.raises(ExportError, match=r"FAILED: Outputs differ from PyTorch .* The file is at"):
        run_verb("export", {**spec, "strict": True})


@pytest.fixture(scope="module")
def blind(harbour, tmp_path_factory) -> Path:
    """The demo checkpoint, pruned without fine-tuning until it finds nothing."""
    from engine.verbs import run_verb

    folder = tmp_path_factory.mktemp("blind")
    return Path(run_verb("prune", {"weights": str(DEMO), "prune_ratio": 0.5, "save_dir": str(folder)})["pruned"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"imgsz": 96, "precision": "int8"}, "so low that no loss would show"),
        ({"imgsz": (64, 96), "precision": "int8"}, "measured of square images only, not of 64 × 96 px"),
        ({"imgsz": 64, "format": "torchscript", "nms": True}, "not measured of TorchScript files"),
    ],
)
def test_an_export_whose_detections_nothing_tested_is_not_verified(blind, harbour, tmp_path, options, reason):
    from engine.export.text import export_text

    events = []
    settings = ExportSettings(**options, data=harbour)
    result = export_model(blind, tmp_path / f"small.{settings.format}", settings, report=events.append)
    assert gate(result, "boxes").passed is None and gate(result, "accuracy").passed is None
    assert "found anything on 8 images." in gate(result, "boxes").text
    assert reason in gate(result, "accuracy").text
    failed = [each.name for each in result.gates if each.passed is False]
    assert not result.verified and not result.passed and failed in ([], ["latency"])
    told = dumped(result)
    assert told["verified"] is False and told["passed"] is False
    if not failed:
        assert re.search(r"MB\. No gate failed; not tested: (difference, )?boxes, accuracy$", events[-1]["text"])
        assert export_text(result).splitlines()[-1].startswith("NOT VERIFIED: ")


def test_strict_refuses_what_was_not_verified_and_says_what_was_not_tested(blind, harbour, tmp_path):
    from engine.verbs import run_verb

    spec = {"weights": str(blind), "imgsz": 64, "nms": True, "data": str(harbour), "save_dir": str(tmp_path)}
    spec |= {"format": "torchscript", "name": "small", "strict": True}
    with pytest.raises(
        ExportError, match=r"^NOT VERIFIED: Neither model found .* of TorchScript files\. The file is at"
    ):
        run_verb("export", spec)


def test_raw_outputs_in_full_precision_need_no_detections(weights, tmp_path):
    events = []
    result = export_model(weights, tmp_path / "small.onnx", ExportSettings(64), report=events.append)
    assert result.verified and result.passed and gate(result, "boxes").passed is None
    assert "2 images of noise; give a data set to compare boxes" in gate(result, "boxes").text
    assert "the outputs themselves are compared" in gate(result, "accuracy").text
    assert events[-1]["text"].endswith("MB. No gate failed; not tested: boxes, accuracy")


def test_boxes_found_in_noise_alone_are_said_to_be():
    from engine.export.gates import boxes_gate
    from engine.export.parity import Parity

    parity = Parity(2, 0.0, 0.0, 0.0, 3, 3, 3, (1, 3, 64, 64), ())
    assert boxes_gate(parity, "fp32").text.endswith("at least 99\u00a0% accepted).")
    noise = boxes_gate(parity, "fp32", noise_only=True)
    assert noise.passed and noise.text.endswith("at least 99\u00a0% accepted), tested on noise images only.")


def test_the_image_size_is_rounded_up_to_the_models_own_stride(tmp_path):
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolov8n-p6.yaml", nc=2, verbose=False)
    path = tmp_path / "wide.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}}, path)
    events = []
    settings = ExportSettings(96, format="torchscript")
    result = export_model(path, tmp_path / "wide.torchscript", settings, report=events.append)
    assert result.imgsz == (128, 128) and result.input_shape == (1, 3, 128, 128) and result.passed
    assert events[0]["text"].endswith("for 128 × 128 px, the size rounded up to the model's stride of 64")


def test_strict_keeps_the_older_file_and_puts_the_failed_one_beside_it(weights, tmp_path, monkeypatch):
    from engine.export import gates
    from engine.verbs import run_verb

    spec = {"weights": str(weights), "imgsz": 64, "save_dir": str(tmp_path), "strict": True}
    good = Path(run_verb("export", spec)["onnx"])
    before = _digest(good)
    monkeypatch.setitem(gates.SIZE_LIMITS, "fp32", 0.0)
    with pytest.raises(ExportError) as caught:
        run_verb("export", spec)
    failed = tmp_path / "random-failed.onnx"
    assert str(caught.value).endswith(f"The file is at {failed}; {good} was left alone.")
    assert _digest(good) == before and sorted(tmp_path.iterdir()) == [failed, good]
    onnx.checker.check_model(str(failed))


def test_an_error_in_the_scores_is_not_hidden_by_the_size_of_the_boxes(weights, tmp_path):
    """A class score off by a few hundredths is nothing beside boxes of 64 pixels, and still has to show."""
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.export.noise import structured_noise
    from engine.export.parity import measure_parity
    from engine.runtimes.backends import open_backend, torch_backend

    path = export_model(weights, tmp_path / "small.onnx", ExportSettings(64)).path
    model = open_checkpoint(weights).model
    with torch.no_grad():
        for branch in model.model[-1].cv3:
            branch[-1].bias[1] += 0.1
    noise = structured_noise(3, 64, 64)[:1]
    parity = measure_parity(torch_backend(model), open_backend(path, "onnx"), [noise], classes=2)
    assert parity.max_abs_difference < 0.1
    assert parity.max_rel_difference > TOLERANCE


def test_boxes_match_only_by_class_and_place_and_only_once():
    from engine.export.boxes import matched_boxes

    def one_box(left=0, label=1):
        return np.array([[left, 0, left + 100, 100, 0.9, label]], dtype=np.float32)

    box = one_box()
    assert matched_boxes(box, one_box(left=4)) == 1
    assert matched_boxes(box, one_box(label=2)) == 0
    assert matched_boxes(box, one_box(left=20)) == 0
    assert matched_boxes(np.concatenate([box, box]), box) == 1
    assert matched_boxes(box, np.zeros((0, 6), np.float32)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_keep_boxes_map_metadata_and_float_inputs(harbour, tmp_path, precision):
    events = []
    settings = ExportSettings(320, precision=precision, data=harbour)
    result = export_model(DEMO, tmp_path / "small.onnx", settings, report=events.append)
    assert gate(result, "checker").passed
    assert gate(result, "boxes").passed and result.boxes_expected > 5
    assert gate(result, "size").passed
    accuracy = gate(result, "accuracy")
    assert accuracy.value == result.accuracy["mAP50-95"] > 0.5
    assert accuracy.limit < result.accuracy["mAP50-95 fp32"]
    said = metadata(result.path)
    assert said["stride"] == "32" and said["task"] == "detect" and "barge" in said["names"]
    assert said["slimming.precision"] == precision and said["slimming.parent"] == _digest(DEMO)
    graph = onnx.load(str(result.path)).graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    small = onnx.TensorProto.INT8 if precision == "int8" else onnx.TensorProto.FLOAT16
    assert {small, onnx.TensorProto.FLOAT} <= kinds  # most convolutions, and those before the decoding


def test_a_stop_during_calibration_leaves_nothing(harbour, tmp_path):
    from engine.base.errors import StopRequested

    def stop_at_steps(event):
        if event["kind"] == "step":
            raise StopRequested

    settings = ExportSettings(96, precision="int8", data=harbour)
    with pytest.raises(StopRequested):
        export_model(DEMO, tmp_path / "small.onnx", settings, report=stop_at_steps)
    assert list(tmp_path.iterdir()) == []


def test_the_tail_that_stays_in_float_is_the_decoding_and_the_convolutions_before_it(weights, tmp_path):
    from engine.runtimes.formats._onnx_precision import sensitive_nodes

    path = export_model(weights, tmp_path / "small.onnx", ExportSettings(64)).path
    model = onnx.load(str(path))
    kept = sensitive_nodes(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and node.name in kept]
    # Two branches at three scales, and the one of distribution focal loss.
    assert len(convolutions) == 7
    assert {node.op_type for node in model.graph.node if node.name in kept} >= {"Softmax", "Sigmoid", "Concat"}
    assert all("/model.22/" in name for name in kept)


def test_nms_in_the_file_finds_the_boxes_that_pytorch_finds(harbour, tmp_path):
    from engine.datasets import check_dataset, image_files

    images = image_files(check_dataset(harbour), "val")
    result = export_model(DEMO, tmp_path / "final.onnx", ExportSettings(320, nms=True), images=images)
    assert result.output_shapes == ((1, 300, 6),)
    assert gate(result, "difference").passed is None
    assert result.boxes_expected > 5
    assert gate(result, "boxes").value == 1.0


def test_torchscript_is_compared_like_onnx_and_knows_its_parent(weights, tmp_path):
    result = export_model(weights, tmp_path / "small.torchscript", ExportSettings(64, format="torchscript"))
    assert result.passed and result.max_rel_difference <= TOLERANCE
    assert gate(result, "checker") is None
    said = {"config.txt": "", "slimming.json": ""}
    torch.jit.load(str(result.path), _extra_files=said)
    assert json.loads(said["slimming.json"])["parent"] == _digest(weights)
    assert json.loads(said["config.txt"])["task"] == "detect"


def test_openvino_is_offered_only_where_it_is_installed():
    import importlib.util

    installed = importlib.util.find_spec("openvino") is not None
    assert ("openvino" in available_formats()) == installed
    if not installed:
        with pytest.raises(ExportError, match="OpenVINO is not installed on this machine"):
            ExportSettings(64, format="openvino")


DECODER = """
    import sys

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {"ultralytics", "torch", "torchvision", "engine"}:
                raise ImportError(name)

    sys.meta_path.insert(0, Block())
    import json
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    image = np.load(sys.argv[2])
    (raw,) = session.run(None, {session.get_inputs()[0].name: image})
    names = session.get_modelmeta().custom_metadata_map["names"]
    rows = raw[0].T
    scores, labels = rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)
    likely = scores > 0.25
    rows, scores, labels = rows[likely], scores[likely], labels[likely]
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    kept = []
    for index in np.argsort(-scores):
        for other in kept:
            low = np.maximum(corners[index, :2], corners[other, :2])
            high = np.minimum(corners[index, 2:], corners[other, 2:])
            inside = np.prod(np.maximum(high - low, 0))
            areas = [np.prod(corners[each, 2:] - corners[each, :2]) for each in (index, other)]
            if labels[index] == labels[other] and inside / (sum(areas) - inside) > 0.7:
                break
        else:
            kept.append(index)
    boxes = [[*corners[index].tolist(), float(scores[index]), int(labels[index])] for index in kept]
    print(json.dumps({"boxes": boxes, "names": names, "blocked": "torch" not in sys.modules}))
"""


def test_numpy_and_onnx_runtime_alone_decode_the_boxes_that_ultralytics_predicts(harbour, tmp_path):
    from engine.base.images import read_input
    from engine.datasets import check_dataset, image_files
    from engine.export.boxes import matched_boxes

    result = export_model(DEMO, tmp_path / "small.onnx", ExportSettings(320))
    model = import_ultralytics().YOLO(str(DEMO))
    found = 0
    for number, image in enumerate(image_files(check_dataset(harbour), "val")[:3]):
        array = tmp_path / f"{number}.npy"
        np.save(array, read_input(image, 3, 320, 320))
        command = [sys.executable, "-c", textwrap.dedent(DECODER), str(result.path), str(array)]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
        assert said["blocked"] and "barge" in said["names"]
        predicted = model.predict(str(image), imgsz=320, conf=0.25, iou=0.7, rect=False, device="cpu", verbose=False)
        expected = predicted[0].boxes.data.numpy().astype(np.float32)
        got = np.array(said["boxes"], dtype=np.float32).reshape(-1, 6)
        assert len(got) == len(expected) == matched_boxes(expected, got)
        found += len(expected)
    assert found > 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"imgsz": 0}, "image size 0"),
        ({"imgsz": (64, 64, 64)}, "one or two positive numbers"),
        ({"imgsz": 64, "opset": 3}, r"random\.pt could not be exported to onnx"),
        ({"imgsz": 64, "name": "small.pt"}, r"does not end in \.onnx"),
        ({"imgsz": 64, "images": [Path("nowhere.png")]}, r"nowhere\.png is gone or no image"),
        ({"imgsz": 64, "format": "coffee"}, "format is 'coffee'; it must be one of onnx, "),
        ({"imgsz": 64, "precision": "int8"}, "INT8 is calibrated on training images; choose a data set"),
        ({"imgsz": 64, "precision": "int8", "data": Path("x.yaml"), "opset": 12}, "INT8 needs opset 13"),
        ({"imgsz": 64, "format": "torchscript", "precision": "fp16"}, "can be made in fp32 here, not in fp16"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(weights, tmp_path, arguments, sentence):
    path = tmp_path / arguments.pop("name", "small.onnx")
    images = arguments.pop("images", ())
    with pytest.raises((ExportError, DatasetError), match=sentence) as caught:
        export_model(weights, path, ExportSettings(**arguments), images=images)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a checkpoint", "not a checkpoint that can be read"),
        (b"", "not a checkpoint that can be read"),
        ({"weight": torch.zeros(2)}, r"holds no model \(only weight\)"),
        ({"model": torch.nn.Linear(2, 2)}, "holds a Linear, not an Ultralytics model"),
    ],
)
def test_weights_that_are_no_yolo_model_are_refused_in_one_sentence(tmp_path, content, sentence):
    fake = tmp_path / "fake.pt"
    fake.write_bytes(content) if isinstance(content, bytes) else torch.save(content, fake)
    with pytest.raises(CheckpointError, match=sentence):
        export_model(fake, tmp_path / "small.onnx", ExportSettings(64))
    assert list(tmp_path.iterdir()) == [fake]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(weights, tmp_path):
    events = []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="is not a folder, or lies below a file"):
        export_model(weights, tmp_path / "file" / "small.onnx", ExportSettings(64), report=events.append)
    (tmp_path / "small.onnx").mkdir()
    with pytest.raises(StorageError, match=r"small\.onnx is a folder; choose another name"):
        export_model(weights, tmp_path / "small.onnx", ExportSettings(64), report=events.append)
    assert events == []


def test_a_data_set_of_other_classes_is_refused_before_the_work(weights, harbour, tmp_path):
    events = []
    settings = ExportSettings(64, precision="int8", data=harbour)
    with pytest.raises(DatasetError, match=r"random\.pt does not fit this data set: it knows 2 classes \("):
        export_model(weights, tmp_path / "small.onnx", settings, report=events.append)
    assert events == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (0.5, 0.49, True),
        (0.5, 0.47, False),
        (0.03, 0.011, False),
        (0.1, 0.091, True),
        (0.1, 0.085, False),
        (0.01, 0.0, None),
    ],
)
def test_the_accuracy_gate_says_what_was_lost_and_nothing_where_nothing_could_be(before, after, passed):
    from engine.export.gates import accuracy_gate

    found = accuracy_gate(after, before, "int8")
    assert found.passed is passed and found.value == after
    assert f"mAP50-95 is {after:.3f} on the validation split, the checkpoint's {before:.3f}" in found.text
    assert ("choose the data set" in found.text.lower()) == (passed is None)


@pytest.mark.parametrize(("passed", "value", "word"), [(True, 1, "passed"), (False, 1, "FAILED")])
def test_the_terminal_says_passed_failed_measured_or_not_tested(passed, value, word):
    from engine.export.text import export_text

    gates = [
        {"name": "size", "passed": passed, "value": value, "limit": 1, "text": "Some sentence."},
        {"name": "latency", "passed": None, "value": 3.0, "limit": None, "text": "One image takes 3.0 ms."},
        {"name": "boxes", "passed": None, "value": None, "limit": None, "text": "Nothing was found."},
    ]
    result = parsed("export", written("export", gates=gates, passed=passed))
    lines = [line.strip() for line in export_text(result).splitlines()]
    assert lines[1:4] == [
        f"size: {word}. Some sentence.",
        "latency: measured. One image takes 3.0 ms.",
        "boxes: not tested. Nothing was found.",
    ]
    assert lines[-1].startswith("FAILED") != passed


def test_a_disk_too_small_is_one_sentence_and_leaves_the_file_of_the_same_name(weights, tmp_path):
    """The limit on file sizes stands for the full disk: the first write of the exporter fails."""
    taken = tmp_path / "small.onnx"
    taken.write_bytes(b"made before")
    script = f"""
        import resource, signal
        import engine
        from pathlib import Path
        from engine.base.errors import StorageError
        from engine.export import ExportSettings, export_model

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            export_model(Path({str(weights)!r}), Path({str(taken)!r}), ExportSettings(64))
        except StorageError as error:
            print(error)
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert "choose a folder on another disk" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    assert taken.read_bytes() == b"made before"
    assert not list(temporary.glob("export-*"))


def test_an_export_of_the_same_name_is_replaced_whole(weights, tmp_path):
    taken = tmp_path / "small.onnx"
    taken.write_bytes(b"made before")
    result = export_model(weights, taken, ExportSettings(64))
    onnx.checker.check_model(str(result.path))
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize("name", ["yolov8n-bccd", "yolo11n-bccd"])
def test_trained_checkpoints_export_within_the_tolerance(name, tmp_path):
    trained = SHARED / "checkpoints" / f"{name}.pt"
    if not trained.is_file():
        pytest.skip(f"{trained} is not there")
    images = sorted((SHARED / "data" / "bccd" / "images" / "val").glob("*.jpg"))[:2]
    result = export_model(trained, tmp_path / f"{name}.onnx", ExportSettings(320), images=images)
    assert result.passed
    assert result.max_rel_difference < TOLERANCE
    assert result.max_abs_difference < 0.01

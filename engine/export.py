"""Export to ONNX: Ultralytics' own exporter, then the checks that make the file worth handing out."""

from __future__ import annotations

import ast
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.errors import ExportError
from engine.files import atomic_path, require_free_space
from engine.runtime import compute_threads, import_ultralytics

Reporter = Callable[[dict], None]

# Largest accepted difference between ONNX Runtime and PyTorch, relative to the output's magnitude in its channel.
TOLERANCE = 1e-3
# An exported file holds float32 weights; the checkpoint usually holds them in half precision, once or twice.
_SIZE_FACTOR = 3
# Below this largest output a channel is compared absolutely: float32 noise has no meaningful ratio to zero.
_SMALLEST_MAGNITUDE = 1e-3


@dataclass(frozen=True)
class ExportResult:
    """An exported file and what was measured on it.

    Differences are between ONNX Runtime on the CPU and the checkpoint's float32 PyTorch model before its BatchNorm
    layers are fused, so they cover fusing, tracing, simplifying and the runtime.
    """

    path: Path
    size_mb: float
    """1 MB is 1,000,000 bytes"""
    opset: int
    imgsz: tuple[int, int]
    """height, width in pixels"""
    dynamic: bool
    input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...]
    images_compared: int
    max_abs_difference: float
    """pixels for boxes, probability for scores"""
    mean_abs_difference: float
    max_rel_difference: float
    """relative to the largest output in the same channel"""
    tolerance: float
    """what ``max_rel_difference`` was held against"""
    seconds: float

    @property
    def within_tolerance(self) -> bool:
        """Whether the file computes what the checkpoint computes."""
        return self.max_rel_difference <= self.tolerance

    def as_dict(self) -> dict:
        """Return the fields as plain, JSON-able values."""
        return {**asdict(self), "path": str(self.path), "within_tolerance": self.within_tolerance}


@dataclass(frozen=True)
class _Parity:
    """Differences over all compared images and outputs."""

    images_compared: int
    max_abs_difference: float
    """in the outputs' own units: pixels for boxes, probability for scores"""
    mean_abs_difference: float
    max_rel_difference: float
    """largest difference in a channel / largest output of the PyTorch model in that channel"""
    input_shape: tuple[int, ...]
    """(batch, channels, height, width) of the first input"""
    output_shapes: tuple[tuple[int, ...], ...]
    """of every output for that input"""


def export_onnx(
    weights: Path,
    *,
    imgsz: int | tuple[int, int],
    save_path: Path,
    opset: int | None = None,
    dynamic: bool = False,
    simplify: bool = True,
    images: Sequence[Path] = (),
    tolerance: float = TOLERANCE,
    keep_mismatch: bool = False,
    report: Reporter = lambda event: None,
) -> ExportResult:
    """Export a checkpoint to ONNX, check the file, and compare it with the checkpoint.

    The file appears at ``save_path`` only when every check has passed. The checkpoint is never touched.

    Args:
        weights: a checkpoint that ``open_checkpoint`` accepts.
        imgsz: input size in pixels, or (height, width); Ultralytics rounds it up to the model's stride.
        save_path: where the ``.onnx`` file goes; an existing one is replaced.
        opset: ONNX operator set; Ultralytics' choice for the installed versions if None.
        dynamic: let batch, height and width vary; the comparison then also uses another size.
        simplify: let onnxslim simplify the graph.
        images: image files to compare on, besides structured noise.
        tolerance: largest accepted ``max_rel_difference``.
        keep_mismatch: keep a file beyond the tolerance; the result says so.
        report: receives ``status`` events.

    Raises:
        CheckpointError: the weights cannot be opened.
        ExportError: the exporter failed, or the file did not pass its checks.
        StorageError: the file cannot be written.
    """
    from engine.checkpoint import open_checkpoint

    started_s = time.monotonic()
    save_path = Path(save_path)
    size = _checked_size(imgsz, save_path)
    checkpoint = open_checkpoint(weights)
    room_bytes = _SIZE_FACTOR * checkpoint.path.stat().st_size
    require_free_space(Path(tempfile.gettempdir()), 2 * room_bytes)
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        report(_status(f"Exporting {checkpoint.path.name} to ONNX"))
        arguments = {"imgsz": size, "opset": opset, "dynamic": dynamic, "simplify": simplify}
        exported = _run_exporter(checkpoint.path, Path(temporary), arguments)
        opset_used, (height, width) = _check_file(exported)
        report(_status("Comparing the ONNX file with the PyTorch model"))
        parity = _compare(checkpoint.model, exported, height, width, dynamic, images)
        if not keep_mismatch:
            _assert_within(tolerance, parity, checkpoint.path)
        _move_into_place(exported, save_path)
    result = ExportResult(
        path=save_path,
        size_mb=save_path.stat().st_size / 1e6,
        opset=opset_used,
        imgsz=(height, width),
        dynamic=dynamic,
        tolerance=tolerance,
        seconds=time.monotonic() - started_s,
        **vars(parity),
    )
    report(_status(f"Exported {result.size_mb:.1f} MB, largest difference {result.max_abs_difference:.2g}"))
    return result


def _status(text: str) -> dict:
    return {"kind": "status", "text": text}


def _checked_size(imgsz: int | Sequence[int], save_path: Path) -> list[int]:
    """Return [height, width] after refusing what no exporter could use."""
    size = [imgsz, imgsz] if isinstance(imgsz, int) else list(imgsz)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ExportError(f"The image size {imgsz} is not one or two positive numbers of pixels, such as 640.")
    if save_path.suffix.lower() != ".onnx":
        raise ExportError(f"{save_path.name} does not end in .onnx; name the exported file like model.onnx.")
    return size


def _run_exporter(weights: Path, folder: Path, arguments: dict) -> Path:
    """Export a copy of the weights, because the exporter writes beside the file it is given."""
    copy = folder / "weights.pt"
    shutil.copyfile(weights, copy)
    try:
        exported = import_ultralytics().YOLO(str(copy)).export(format="onnx", device="cpu", **arguments)
    except Exception as error:  # the exporter lets through whatever PyTorch, onnx or an assertion raises
        raise ExportError(f"{weights.name} could not be exported to ONNX: {_first_line(error)}") from error
    return Path(exported)


def _check_file(exported: Path) -> tuple[int, tuple[int, int]]:
    """Check the graph, and return its opset and the image size that its metadata states."""
    import onnx

    try:
        onnx.checker.check_model(str(exported), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The exported file failed the ONNX checker: {_first_line(error)}") from error
    model = onnx.load(str(exported), load_external_data=False)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    height, width = ast.literal_eval(metadata["imgsz"])
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    return opset, (height, width)


def _compare(
    model: nn.Module, exported: Path, height: int, width: int, dynamic: bool, images: Sequence[Path]
) -> _Parity:
    """Measure parity on structured noise, on another size too if the file promises one, and on the images."""
    channels = (getattr(model, "yaml", None) or {}).get("channels", 3)
    noise = _structured_noise(channels, height, width)
    inputs = [noise[:1], noise[1:]]
    if dynamic:
        stride = int(max(model.stride))
        inputs.append(_structured_noise(channels, height + stride, width))
    inputs += [_read_image(Path(path), height, width) for path in images]
    return _measure_parity(model, exported, inputs)


def _assert_within(tolerance: float, parity: _Parity, weights: Path) -> None:
    if parity.max_rel_difference > tolerance:
        raise ExportError(
            f"The exported file differs from {weights.name} by {parity.max_rel_difference:.2g} of the output's "
            f"magnitude (tolerance {tolerance:.2g}), so it was not kept; try without simplifying, or another opset."
        )


def _read_image(path: Path, height: int, width: int) -> np.ndarray:
    import cv2

    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise ExportError(f"{path.name} is not an image that can be read; compare on JPEG or PNG files.")
    return _letterboxed(image, height, width)


def _move_into_place(exported: Path, save_path: Path) -> None:
    """Copy across file systems into a file aside, which is then renamed."""
    require_free_space(save_path.parent, exported.stat().st_size)
    with atomic_path(save_path) as aside:
        shutil.copyfile(exported, aside)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _measure_parity(model: nn.Module, onnx_file: Path, inputs: Sequence[np.ndarray]) -> _Parity:
    """Compare ONNX Runtime on the CPU with a float32 PyTorch model in evaluation mode.

    Args:
        model: the reference, as it was opened: BatchNorm not fused into convolutions.
        onnx_file: the exported model.
        inputs: float32 arrays (N, C, H, W), values 0 to 1.

    Raises:
        ExportError: an output has another shape, or is not finite.
    """
    session = _session(onnx_file)
    expected = [_torch_outputs(model, array) for array in inputs]
    actual = [session.run(None, {session.get_inputs()[0].name: array}) for array in inputs]
    pairs = [pair for wanted, got in zip(expected, actual, strict=True) for pair in _paired(wanted, got)]
    differences = [np.abs(got.astype(np.float64) - wanted) for wanted, got in pairs]
    return _Parity(
        images_compared=sum(len(array) for array in inputs),
        max_abs_difference=float(max(difference.max() for difference in differences)),
        mean_abs_difference=float(np.concatenate([difference.ravel() for difference in differences]).mean()),
        max_rel_difference=max(
            _relative(difference, wanted) for difference, (wanted, _) in zip(differences, pairs, strict=True)
        ),
        input_shape=inputs[0].shape,
        output_shapes=tuple(output.shape for output in actual[0]),
    )


def _structured_noise(channels: int, height: int, width: int, count: int = 2) -> np.ndarray:
    """Return deterministic images (count, channels, height, width), float32, 0 to 1.

    Coarse blobs, edges and fine grain together, so that features of every scale respond, as white noise would not.
    """
    random = np.random.default_rng(0)
    image = np.zeros((count, channels, height, width))
    for cells in (2, 5, 16, max(height, width)):
        grid = random.random((count, channels, cells, cells))
        rows = np.arange(height) * cells // height
        columns = np.arange(width) * cells // width
        image += grid[:, :, rows][:, :, :, columns]
    return (image / image.max()).astype(np.float32)


def _letterboxed(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image (H, W, 3), BGR, 0 to 255, as the model sees it: (1, 3, height, width), RGB, 0 to 1."""
    from ultralytics.data.augment import LetterBox

    padded = LetterBox(new_shape=(height, width), auto=False)(image=image)
    return np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255


def _session(onnx_file: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Left to itself the runtime counts the machine's cores, not those this process may use, and pins threads to them.
    options.intra_op_num_threads = compute_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waits without taking a core
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def _torch_outputs(model: nn.Module, array: np.ndarray) -> list[np.ndarray]:
    """Return the outputs that the exporter keeps: the decoded predictions, without the raw maps beside them."""
    output = model(torch.from_numpy(array))
    decoded = output[0] if isinstance(output, (tuple, list)) else output
    tensors = decoded if isinstance(decoded, (tuple, list)) else [decoded]
    return [tensor.numpy() for tensor in tensors]


def _paired(expected: list[np.ndarray], actual: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    shapes = [array.shape for array in expected], [array.shape for array in actual]
    if shapes[0] != shapes[1]:
        raise ExportError(f"The exported model's outputs have shapes {shapes[1]}, the PyTorch model's {shapes[0]}.")
    if not all(np.isfinite(array).all() for array in actual):
        raise ExportError("The exported model's outputs are not finite; check that the checkpoint's are.")
    return list(zip(expected, actual, strict=True))


def _relative(difference: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of any channel (axis 1) relative to that channel's largest output.

    Channels apart, because boxes are in pixels: next to them an error in a score would look negligible.
    """
    others = tuple(axis for axis in range(expected.ndim) if axis != 1)
    magnitude = np.maximum(np.abs(expected).max(axis=others), _SMALLEST_MAGNITUDE)
    return float((difference.max(axis=others) / magnitude).max())

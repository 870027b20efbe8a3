"""A model made ready to run in one runtime, one image at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from ultralytics.nn.tasks import BaseModel

from engine.base.errors import ExportError
from engine.base.imgsz import ImageSize, height_width, model_stride, option_text
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.checkpoints.inputs import image_channels
from engine.pruning.cost import count_operations
from engine.runtimes.exporter import run_exporter
from engine.runtimes.sessions import feed, open_session, timed_ms

RUNTIMES = ("onnx", "torch", "cuda")


@dataclass(frozen=True)
class Runner:
    """One model in one runtime."""

    weights: Path
    digest: str
    "SHA-256 of the checkpoint file."
    runtime: str
    imgsz: ImageSize
    run_ms: Callable[[], float]
    "Runs the model on one image and returns the milliseconds that took."
    params: int
    gflops: float
    input_channels: tuple[int, ...]
    "Of every convolution that is not grouped, in the order of the model."
    onnx_file: Path | None
    "The exported file, for the onnx runtime."


def open_runner(weights: Path, runtime: str, imgsz: ImageSize, threads: int, folder: Path) -> Runner:
    """Open a checkpoint in a runtime; what has to be exported goes to ``folder``.

    Raises:
        CheckpointError: the checkpoint cannot be opened.
        ExportError: it does not run at that size, it cannot be exported, or there is no such device.
    """
    checkpoint = open_checkpoint(weights)
    _check_size(checkpoint, imgsz)
    onnx_file = None
    # Counted before the model is fused for running, which takes its BatchNorm away.
    gflops = count_operations(checkpoint.model, *height_width(imgsz))[0] / 1e9 * 2
    convolutions = [module for module in checkpoint.model.modules() if isinstance(module, nn.Conv2d)]
    input_channels = tuple(module.in_channels for module in convolutions if module.groups == 1)
    if runtime == "onnx":
        onnx_file = run_exporter(checkpoint.path, folder, imgsz=height_width(imgsz), simplify=True)
        run_ms = _onnx(onnx_file, imgsz, threads)
    else:
        run_ms = _torch(checkpoint.model, imgsz, threads, "cuda" if runtime == "cuda" else "cpu")
    return Runner(
        weights=Path(weights),
        digest=checkpoint.digest,
        runtime=runtime,
        imgsz=imgsz,
        run_ms=run_ms,
        params=checkpoint.params,
        gflops=gflops,
        input_channels=input_channels,
        onnx_file=onnx_file,
    )


def _check_size(checkpoint: Checkpoint, imgsz: ImageSize) -> None:
    stride = model_stride(checkpoint.model)
    if any(side % stride for side in height_width(imgsz)):
        raise ExportError(
            f"{checkpoint.path.name} runs at image sizes that are multiples of {stride}, and {option_text(imgsz)} is "
            "none; choose another size."
        )


def _onnx(onnx_file: Path, imgsz: ImageSize, threads: int) -> Callable[[], float]:
    session = open_session(onnx_file, threads)
    inputs = feed(session, imgsz)
    return lambda: timed_ms(lambda: session.run(None, inputs))


def _torch(model: BaseModel, imgsz: ImageSize, threads: int, device: str) -> Callable[[], float]:
    if device == "cuda" and not torch.cuda.is_available():
        raise ExportError("There is no CUDA device on this machine; measure onnx or torch.")
    channels = image_channels(model)
    fused = model.fuse(verbose=False) if hasattr(model, "fuse") else model
    fused = fused.eval().to(device)
    image = torch.rand(1, channels, *height_width(imgsz), generator=torch.Generator().manual_seed(0)).to(device)

    @torch.inference_mode()
    def run_ms() -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            started = time.perf_counter()
            fused(image)
            if device == "cuda":
                torch.cuda.synchronize()
            return (time.perf_counter() - started) * 1e3
        finally:
            torch.set_num_threads(before)

    return run_ms

"""A model made ready to run in one runtime, one image at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from ultralytics.nn.tasks import BaseModel

from engine.base.errors import ExportError
from engine.base.imgsz import ImageSize, height_width, model_stride, option_text
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.checkpoints.inputs import image_channels
from engine.profile.counting import count_operations
from engine.runtimes.formats import Format, format_named
from engine.runtimes.sessions import timed_ms
from engine.runtimes.threads import torch_threads
from engine.settings.choices import FORMATS


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
    exported: Path | None
    "The file that is run; None where the checkpoint itself is."


def open_runner(weights: Path, runtime: str, imgsz: ImageSize, threads: int, folder: Path) -> Runner:
    """Open a checkpoint in a runtime; what has to be exported goes to ``folder``.

    Raises:
        CheckpointError: the checkpoint cannot be opened.
        ExportError: it does not run at that size, it cannot be exported, or there is no such device.
    """
    checkpoint = open_checkpoint(weights)
    _check_size(checkpoint, imgsz)
    exported = None
    # Counted before the model is fused for running, which takes its BatchNorm away.
    gflops = count_operations(checkpoint.model, imgsz).gflops
    convolutions = [module for module in checkpoint.model.modules() if isinstance(module, nn.Conv2d)]
    input_channels = tuple(module.in_channels for module in convolutions if module.groups == 1)
    if runtime in FORMATS:
        format = format_named(runtime)
        if sentence := format.unavailable():
            raise ExportError(sentence)
        exported = format.export(checkpoint.path, folder, {"imgsz": height_width(imgsz)})
        run_ms = _exported(exported, format, checkpoint.channels, imgsz, threads)
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
        exported=exported,
    )


def _check_size(checkpoint: Checkpoint, imgsz: ImageSize) -> None:
    stride = model_stride(checkpoint.model)
    if any(side % stride for side in height_width(imgsz)):
        raise ExportError(
            f"{checkpoint.path.name} runs at image sizes that are multiples of {stride}, and {option_text(imgsz)} is "
            "none; choose another size."
        )


def _exported(exported: Path, format: Format, channels: int, imgsz: ImageSize, threads: int) -> Callable[[], float]:
    run = format.open(exported, threads)
    image = np.random.default_rng(0).random((1, channels, *height_width(imgsz)), dtype=np.float32)
    return lambda: timed_ms(lambda: run(image))


def _torch(model: BaseModel, imgsz: ImageSize, threads: int, device: str) -> Callable[[], float]:
    if device == "cuda" and not torch.cuda.is_available():
        raise ExportError("There is no CUDA device on this machine; measure onnx or torch.")
    channels = image_channels(model)
    fused = model.fuse(verbose=False) if hasattr(model, "fuse") else model
    fused = fused.eval().to(device)
    image = torch.rand(1, channels, *height_width(imgsz), generator=torch.Generator().manual_seed(0)).to(device)

    def run() -> None:
        fused(image)
        if device == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def run_ms() -> float:
        with torch_threads(threads):
            return timed_ms(run)

    return run_ms

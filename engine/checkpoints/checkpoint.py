"""Ultralytics checkpoints: open, describe, save. The only place that unpickles.

A ``.pt`` file is a pickle, which can run code when it is loaded. Only Ultralytics' restricted loader is used
(``weights_only`` with a list of known classes, to which ``engine.checkpoints.restricted`` adds torchvision's layers),
and none of the classes is called (``engine.checkpoints.rehearsal``); a file that needs more is refused.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.nn.tasks import BaseModel, guess_model_task, torch_safe_load
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import CheckpointError
from engine.base.files import atomic_path, file_digest, require_free_space
from engine.checkpoints.container import is_container, require_sound
from engine.checkpoints.inputs import image_channels
from engine.checkpoints.rehearsal import require_no_layer_called
from engine.checkpoints.restricted import LOADING, allow_torchvision, refusal
from engine.checkpoints.unpruning import mark_if_narrower

MADE_KEY = "slimming"
"Key under which a checkpoint says how it was made; plain values only, so that restricted loading accepts it."


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint."""

    path: Path
    digest: str
    "SHA-256 of the file, hexadecimal."
    model: nn.Module = field(repr=False)
    "Float32, evaluation mode, CPU."
    task: str
    "detect, segment, pose, obb, classify ..."
    names: dict[int, str]
    imgsz: int
    "Image size in pixels that the model was trained at, 640 where the file does not say."
    params: int
    half: bool
    "The file stores 16-bit weights, as Ultralytics writes them."
    content: dict[str, Any] = field(repr=False)
    "The rest of the file."

    @cached_property
    def channels(self) -> int:
        """How many channels the images have that the model takes."""
        return image_channels(self.model)

    @property
    def made(self) -> dict[str, Any]:
        """How the checkpoint was made, empty where nothing is recorded."""
        return self.content.get(MADE_KEY) or {}

    @property
    def single_cls(self) -> bool:
        """Whether the model was trained with all classes of its data set counted as one."""
        return bool(_train_argument(self.content, self.model, "single_cls"))

    @property
    def ancestors(self) -> list[str]:
        """Digests of the checkpoints that this one descends from, the oldest first, as far as its file tells."""
        return list(self.made.get("ancestors", ()))


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open an Ultralytics checkpoint without running anything that it contains.

    Raises:
        CheckpointError: No such file, not a checkpoint, no model inside, or classes that may not be loaded.
    """
    path = Path(path)
    content = _load(path)
    model = next((content[key] for key in ("ema", "model") if isinstance(content.get(key), nn.Module)), None)
    if model is None:
        raise CheckpointError(
            f"{path.name} holds no model (only {_listed(content)}); choose the best.pt or last.pt that training wrote."
        )
    if not isinstance(model, BaseModel):
        raise CheckpointError(
            f"{path.name} holds a {type(model).__name__}, not an Ultralytics model; choose the best.pt or last.pt that "
            "training wrote."
        )
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise CheckpointError(
            f"{path.name} has no BatchNorm layers, so it has no gammas to prune by; if it was fused for deployment, "
            "choose the checkpoint it was made from."
        )
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise CheckpointError(
            f"{path.name} holds weights that are not numbers (its training diverged); choose an earlier checkpoint."
        )
    half = next(model.parameters()).dtype == torch.float16
    model = model.float().eval()
    return Checkpoint(
        path=path,
        digest=file_digest(path),
        model=model,
        task=getattr(model, "task", None) or guess_model_task(model),
        names=_names(model),
        imgsz=_image_size(content, model),
        params=get_num_params(model),
        half=half,
        content={key: value for key, value in content.items() if key not in {"ema", "model", "optimizer"}},
    )


def record_made(path: str | Path, made: dict[str, Any]) -> None:
    """Write into a checkpoint that training has just finished how it was made; JSON-like values only.

    Raises:
        CheckpointError: It cannot be read.
        StorageError: It cannot be written.
    """
    content = _load(Path(path))
    for model in (content.get("model"), content.get("ema")):
        if isinstance(model, nn.Module):
            mark_if_narrower(model)
    with atomic_path(path) as temporary:
        torch.save({**content, MADE_KEY: made}, temporary)


def _load(path: Path) -> dict[str, Any]:
    if not os.path.exists(path):
        raise CheckpointError(f"There is no file {path}; check the path.")
    if path.is_dir() or path.suffix.lower() != ".pt":
        raise CheckpointError(f"{path} is not a .pt file; choose a checkpoint that Ultralytics training wrote.")
    try:
        if is_container(path):
            require_sound(path)
        require_no_layer_called(path)
        with LOADING:
            allow_torchvision(path)
            content, _ = torch_safe_load(str(path), safe_only=True)
    except Exception as error:  # the loader lets through whatever a damaged file provokes
        raise CheckpointError(refusal(path, error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path.name} holds a {type(content).__name__}, not an Ultralytics checkpoint; choose the best.pt or "
            "last.pt that training wrote."
        )
    return content


def _listed(content: dict[str, Any]) -> str:
    keys = [" ".join(str(key).split()) for key in content]
    return ", ".join(keys[:4]) + (" ..." if len(keys) > 4 else "") if keys else "nothing"


def _names(model: nn.Module) -> dict[int, str]:
    names = getattr(model, "names", {}) or {}
    if isinstance(names, dict) and all(str(index).isdigit() for index in names):
        return {int(index): str(name) for index, name in names.items()}
    return {index: str(name) for index, name in enumerate(names)}


def _image_size(content: dict[str, Any], model: nn.Module) -> int:
    """Return the training image size; a pair (height, width) counts by its larger side."""
    size = _train_argument(content, model, "imgsz")
    if isinstance(size, (list, tuple)) and size:
        size = max(size)
    return int(size) if isinstance(size, (int, float)) and size >= 32 else 640


def _train_argument(content: dict[str, Any], model: nn.Module, name: str) -> Any:
    """Return an argument of the training that a file records, None where it does not."""
    arguments = content.get("train_args") or getattr(model, "args", None) or {}
    return arguments.get(name) if isinstance(arguments, dict) else getattr(arguments, name, None)


def save_checkpoint(model: nn.Module, path: str | Path, *, source: Checkpoint, made: dict[str, Any]) -> Path:
    """Write a model as an ordinary Ultralytics checkpoint, aside and then renamed.

    Everything that ``source`` knew (training arguments, version ...) is kept; results of a training that no longer
    describe the model are not. Weights are stored in 16 bits where the source's were.

    Args:
        model: A model made of Ultralytics' own classes.
        path: Where to write; ends in ``.pt``.
        source: The checkpoint that the model was made from.
        made: How it was made; JSON-like values only.

    Raises:
        StorageError: The file cannot be written.
    """
    path = Path(path)
    stored = copy.deepcopy(model).eval()
    stored = stored.half() if source.half else stored.float()
    mark_if_narrower(stored)
    for parameter in stored.parameters():
        parameter.requires_grad = False
    stored.__dict__.pop("pt_path", None)  # where the source lay on this machine; Ultralytics sets it at every load
    stale = {"train_metrics", "train_results", "best_fitness", "updates", "epoch", "scaler", "stopper"}
    content = {key: value for key, value in source.content.items() if key not in stale}
    content |= {"epoch": -1, "model": stored, "ema": None, "optimizer": None, MADE_KEY: made}
    require_free_space(path.parent, 8 * get_num_params(stored))
    # Given a path, torch writes its last part into the file; what is written aside has another one each time.
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)
    return path

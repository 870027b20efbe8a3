"""Reads the pickle in a checkpoint with stand-ins for everything it names, to see what loading it would call.

Ultralytics' list of classes says what a pickle may make, not how: whatever is on it may also be called with arguments
that the file chooses, and a ``TorchVision`` block that is called downloads weights. PyTorch writes a layer as a bare
object that is given its state, so no file that was saved from a model calls one.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from engine.checkpoints.container import is_container

LAYERS = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "ultralytics.nn.")
"How the names of layers and models begin."
_OLD_FORMAT_PICKLES = 4
"Magic number, protocol, system, content: what a file of PyTorch before 1.6 holds in front of its tensors."


class LayerCallError(Exception):
    """A pickle calls a layer; the message is its name."""


class _Anything:
    """Stands for whatever a pickle makes or calls; does nothing with what it is given."""

    def __init__(self, *arguments: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...


class _Rehearsal(pickle.Unpickler):
    """An unpickler that neither imports nor calls anything that the file names."""

    def find_class(self, module: str, name: str) -> type:
        full = f"{module}.{name}"
        return _layer(full) if full.startswith(LAYERS) else _Anything

    def persistent_load(self, identity: Any) -> Any:
        if isinstance(identity, tuple) and identity[:1] == ("module",) and len(identity) > 1:
            return identity[1]  # the old format wraps the class of a layer so, together with its source
        return _Anything()


def _layer(name: str) -> type:
    def called(self: _Anything, *arguments: Any) -> None:  # a bare object is made without it
        raise LayerCallError(name)

    return type("Layer", (_Anything,), {"__init__": called})


def require_no_layer_called(path: Path) -> None:
    """Read the pickle of a checkpoint without making anything of it.

    Raises:
        LayerCallError: Loading it would call a layer or a model, as no saved model does.
        Exception: Whatever a damaged file provokes.
    """
    if is_container(path):
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
        _Rehearsal(io.BytesIO(content), encoding="utf-8").load()
        return
    with path.open("rb") as file:
        for _ in range(_OLD_FORMAT_PICKLES):
            _Rehearsal(file, encoding="utf-8").load()

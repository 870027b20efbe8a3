"""What the restricted loader may make beside Ultralytics' own classes, and why it refuses everything else.

A pickle names every class and function that it wants. Ultralytics' restricted loader knows its own and PyTorch's; the
layers of torchvision, which its ``TorchVision`` block brings into a model, are missing from its list although they
are as harmless: layers of an installed package, made as bare objects that are given their state.
"""

from __future__ import annotations

import importlib
import re
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import ultralytics
from torch import nn

from engine.checkpoints.container import ContainerError
from engine.checkpoints.rehearsal import LayerCallError

DANGEROUS = frozenset(
    "__builtin__ _pickle asyncio bdb builtins cProfile code codeop commands ctypes ftplib http imp importlib marshal "
    "multiprocessing nt operator os pdb pickle pip platform posix profile pty pydoc runpy shutil signal socket "
    "subprocess sys tempfile threading timeit trace types urllib webbrowser".split()
)
"Modules of Python that no model needs, and with which a pickle does harm."
LOADING = threading.RLock()
"Held from allowing classes to the end of loading: PyTorch's list is replaced as a whole, so threads lose each other's."
_Allowed = Callable[..., Any] | tuple[Callable[..., Any], str]
"What PyTorch's list takes: a class or function, alone or with the name that a file calls it by."
_UNTRUSTED = "do not open it anywhere, and get the model from whoever trained it"
_HELP = "this workbench opens models of plain Ultralytics layers; train one, for example from yolo11n.yaml"


def allow_torchvision(path: str | Path) -> None:
    """Let the restricted loader make the torchvision layers that a checkpoint names, in this process from now on."""
    with LOADING:
        layers: list[_Allowed] = [layer for name in unsafe_names(path) if (layer := _torchvision_layer(name))]
        if layers:
            torch.serialization.add_safe_globals(layers)


def holds_torchvision(model: nn.Module) -> bool:
    """Whether a model holds layers that stock Ultralytics loads by default, but not under ULTRALYTICS_SAFE_LOAD=1."""
    return any(_torchvision_layer(f"{type(m).__module__}.{type(m).__qualname__}") for m in model.modules())


def unsafe_names(path: str | Path) -> list[str]:
    """Return the classes and functions that a checkpoint names and the restricted loader does not allow so far."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # whatever a damaged file provokes: loading it says what it is
        return []


def _torchvision_layer(name: str) -> type | None:
    """Return the layer of torchvision that a name means; None for functions, and for what could run code."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith(("torchvision.models.", "torchvision.ops.")):
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, ValueError):  # no such module, or nothing that could name one
        return None
    if not (isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module):
        return None
    if found.__new__ is not object.__new__:
        return None  # making a bare object of it would run code
    # A torch.fx.GraphModule, for one, compiles the code that it is given as its state.
    homes = {base.__module__.partition(".")[0] for base in found.__mro__ if not base.__module__.startswith("torch.nn.")}
    return found if homes <= {"torchvision", "builtins"} else None


def refusal(path: Path, error: Exception) -> str:
    """Return the sentence for a file that the restricted loader did not accept, with the error it raised."""
    chain = [error, error.__cause__, error.__context__]
    text = " ".join(str(link) for link in chain if link is not None)
    if isinstance(error, LayerCallError):
        return (
            f"{path.name} was refused: it wants to call {error} while it is loaded, which could download or build "
            f"anything, and which no saved model does; {_UNTRUSTED}."
        )
    if isinstance(error, ContainerError):
        return f"{path.name} {error}."
    if isinstance(error, TypeError) and path.stat().st_size and not zipfile.is_zipfile(path) and "outside" in text:
        return (
            f"{path.name} is in the file format of PyTorch before 1.6, or no checkpoint at all; open it with a recent "
            "Ultralytics and save it again."
        )
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):
        return f"{path.name} was refused: {_why_not(unsafe_names(path) or [wanted.group(1)])}."
    if "YOLOv5 model originally trained" in text:
        return f"{path.name} comes from the separate yolov5 repository, which Ultralytics cannot load; retrain it here."
    if isinstance(error, PermissionError):
        return f"{path.name} cannot be read: permission denied; change its permissions or copy it elsewhere."
    if missing := re.search(r"missing Ultralytics module '([\w.]+)'|[Nn]o module named '([\w.]+)'", text):
        return f"{path.name} was refused: {_why_not([missing.group(1) or missing.group(2)])}."
    if isinstance(error, (AttributeError, ModuleNotFoundError)):
        return f"{path.name} needs a class that this Ultralytics version does not have ({error}); upgrade ultralytics."
    return (
        f"{path.name} is not a checkpoint that can be read (empty, cut short, damaged or another kind of file); "
        "choose a .pt file that Ultralytics training wrote."
    )


def _why_not(names: list[str]) -> str:
    """Return what is wrong with the names that a file wants, the worst first, and what helps."""
    name = min(names, key=_harmlessness)
    package = name.partition(".")[0]
    if package in DANGEROUS:
        return (
            f"it wants to run {name} while it is loaded, which no model needs and which can take over this computer; "
            f"{_UNTRUSTED}"
        )
    if package == "models":
        return (
            f"it needs {name} of the separate yolov5 or yolov7 repository, which Ultralytics does not have; retrain it "
            "here, for example from yolov5nu.pt"
        )
    if package == "ultralytics" and _exists(name):
        return f"{name} is part of Ultralytics, but neither a layer nor a model, and could run code; {_HELP}"
    if package == "ultralytics":
        return (
            f"{name} is not part of Ultralytics {ultralytics.__version__}, so it comes from a fork or from a newer "
            f"version; upgrade ultralytics if it is newer, else {_HELP}"
        )
    if package == "torchvision":
        return f"{name} is no layer that the installed torchvision has; install the torchvision it was saved with"
    if package == "__main__":
        return f"it needs {name.partition('.')[2]}, a class of the script that saved it and not in the file; {_HELP}"
    owner = "of Python itself" if package in sys.stdlib_module_names else f"of the package {package}"
    return (
        f"it needs {name} {owner}, which is not on Ultralytics' list of safe classes and could run code (a fork's or a "
        f"project's own class); {_HELP}"
    )


def _exists(name: str) -> bool:
    """Whether Ultralytics defines a name; looked up in its source, as importing it could do what a file is refused."""
    module, _, attribute = name.rpartition(".")
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    place = Path(ultralytics.__file__).parent.joinpath(*module.split(".")[1:])
    sources = [source for source in (place.with_suffix(".py"), place / "__init__.py") if source.is_file()]
    defined = re.compile(rf"^(class|def) {re.escape(attribute)}\b|^{re.escape(attribute)} *[=:]", re.MULTILINE)
    return any(defined.search(source.read_text(encoding="utf-8")) for source in sources)


def _harmlessness(name: str) -> int:
    package = name.partition(".")[0]
    return 0 if package in DANGEROUS else 1 if package == "ultralytics" else 2

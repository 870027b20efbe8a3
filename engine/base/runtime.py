"""The environment of Ultralytics, decided before it is imported.

Left alone, Ultralytics resolves host names at import, asks for updates, sends usage events, fetches fonts, installs
packages and unpickles whatever a checkpoint names. The workbench works without a network and does none of that.
Ultralytics reads its environment once, at import, so ``import engine`` calls ``prepare`` before anything else, and
child processes start with ``worker_environment``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TextIO

REPOSITORY = Path(__file__).resolve().parents[2]
OLDEST_PYTHON = (3, 11)
"What the oldest release of Streamlit in requirements.txt runs on."

_APPLICATION = "yolo-slimming-workbench"
# Ultralytics appends this folder to YOLO_CONFIG_DIR.
_CONFIG_SUBFOLDER = "Ultralytics"
# Fonts that Ultralytics downloads when it checks a data set or draws labels, whichever fits the class names.
_FONTS = ("Arial.ttf", "Arial.Unicode.ttf")
# The schema of the settings file in the pinned release; another one only makes Ultralytics migrate the file.
_SETTINGS_VERSION = "0.0.8"
_QUIET_SETTINGS = {
    "sync": False,
    "api_key": "",
    "openai_api_key": "",
    "clearml": False,
    "comet": False,
    "dvc": False,
    "mlflow": False,
    "raytune": False,
    "tensorboard": False,
    "wandb": False,
    "vscode_msg": False,
    "openvino_msg": False,
}


def require_python() -> None:
    """End the program with one sentence on a Python that the requirements cannot be installed on."""
    if sys.version_info < OLDEST_PYTHON:
        needed, found = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
        said = f"The workbench needs Python {needed} or newer, and this is {found}; start it with a newer one."
        print(f"error: {said}", file=sys.stderr)
        raise SystemExit(2)


def prepare() -> None:
    """Set the environment variables and files that keep Ultralytics offline, quiet and safe.

    Variables that the person has set are respected, with two exceptions: checkpoints are always loaded by the
    restricted loader, and a key of the Ultralytics platform is dropped, because training would stream to it.
    Safe to call any number of times; does not import torch. Ends the program where Python itself is too old.
    """
    require_python()
    os.environ.setdefault("YOLO_OFFLINE", "1")
    os.environ.setdefault("YOLO_AUTOINSTALL", "0")
    os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
    # Threads that spin while they wait make training several times slower as soon as another process needs a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "1"
    os.environ.pop("ULTRALYTICS_API_KEY", None)
    if chosen := os.environ.get("YOLO_CONFIG_DIR"):
        _furnish_if_possible(_place_fonts, Path(os.path.expanduser(chosen)))
    else:
        os.environ["YOLO_CONFIG_DIR"] = str(_own_config_folder())


def worker_environment() -> dict[str, str]:
    """Return the environment for a child process: this one's, prepared, with the repository importable."""
    prepare()
    environment = dict(os.environ)
    search_path = [str(REPOSITORY), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search_path))
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def available_cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compute_threads() -> int:
    """Return how many threads PyTorch and ONNX Runtime should use: OMP_NUM_THREADS, else every available core."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdigit() and int(chosen) > 0 else available_cores()


def import_ultralytics() -> ModuleType:
    """Import Ultralytics in the prepared environment and return the package.

    Holds what environment variables cannot decide: the settings of a person who has a configuration folder of their
    own are overridden in this process only, and their file is left alone.
    """
    prepare()
    import ultralytics
    from ultralytics import utils
    from ultralytics.nn import tasks
    from ultralytics.utils import torch_utils

    dict.update(utils.SETTINGS, _QUIET_SETTINGS)  # the class's own update() would write the file
    # Ultralytics may have been imported before this project was, when the restricted loader was not asked for.
    utils.SAFE_LOAD = tasks.SAFE_LOAD = True
    # Choosing the device "cpu" sets torch to all cores but one: half the speed on a machine with two.
    torch_utils.NUM_THREADS = compute_threads()
    return ultralytics


@contextlib.contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Send everything written to standard output inside the block to standard error.

    Covers ``print``, log handlers that already hold the stream, native libraries and child processes, because the
    file descriptor is redirected too. It is process-wide, so only the terminal commands use it.
    """
    stdout = sys.stdout
    handlers = [handler for handler in _stream_handlers() if handler.stream is stdout]
    with _descriptor_to_stderr(), contextlib.redirect_stdout(sys.stderr):
        for handler in handlers:
            handler.setStream(sys.stderr)
        try:
            yield
        finally:
            for handler in handlers:
                handler.setStream(stdout)


def _stream_handlers() -> list[logging.StreamHandler]:
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return [handler for logger in loggers for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]


@contextlib.contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    _flush(sys.stdout)
    try:
        saved = os.dup(1)
    except OSError:  # no standard output at all, as in a windowed process
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        _flush(sys.stdout)
        os.dup2(saved, 1)
        os.close(saved)


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        stream.flush()


def _own_config_folder() -> Path:
    """Return the first of our candidate folders that could be furnished; the last one if none could."""
    folder = _user_cache_folder() / _APPLICATION
    if _furnish_if_possible(_furnish, folder):
        return folder
    folder = _private_temporary_folder()
    _furnish_if_possible(_furnish, folder)
    return folder


def _user_cache_folder() -> Path:
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else Path(os.path.expanduser("~")) / ".cache"


def _private_temporary_folder() -> Path:
    """Return a folder below the temporary one that no other user can have prepared for us."""
    if os.name == "nt":  # already a folder of this user alone
        return Path(tempfile.gettempdir()) / _APPLICATION
    folder = Path(tempfile.gettempdir()) / f"{_APPLICATION}-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and (status.st_uid, status.st_mode & 0o777) == (os.getuid(), 0o700):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{_APPLICATION}-"))


def _furnish_if_possible(furnish: Callable[[Path], None], folder: Path) -> bool:
    try:
        furnish(folder)
    except OSError:
        return False
    return True


def _furnish(folder: Path) -> None:
    """Make the folder what Ultralytics expects to find below YOLO_CONFIG_DIR."""
    _place_fonts(folder)
    _place_settings(folder)
    _assert_writable(folder / _CONFIG_SUBFOLDER)


def _assert_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


def _place_fonts(folder: Path) -> None:
    """Copy a font that matplotlib ships under the names Ultralytics would download."""
    missing = [folder / _CONFIG_SUBFOLDER / name for name in _FONTS]
    missing = [path for path in missing if not path.exists()]
    source = _shipped_font() if missing else None
    if source:
        for path in missing:
            _write_whole(path, source.read_bytes())


def _shipped_font() -> Path | None:
    matplotlib = importlib.util.find_spec("matplotlib")  # finds the package without importing it
    if matplotlib is None or matplotlib.origin is None:
        return None
    font = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return font if font.is_file() else None


def _place_settings(folder: Path) -> None:
    path = folder / _CONFIG_SUBFOLDER / "settings.json"
    settings = {
        **_QUIET_SETTINGS,
        "datasets_dir": str(folder / "datasets"),
        "weights_dir": str(folder / "weights"),
        "runs_dir": str(folder / "runs"),
        "uuid": "",
    }
    if not settings.items() <= _read_settings(path).items():
        text = json.dumps({"settings_version": _SETTINGS_VERSION, **settings}, indent=2)
        _write_whole(path, text.encode())


def _read_settings(path: Path) -> dict:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _write_whole(path: Path, content: bytes) -> None:
    """Write the file aside, then rename it: other processes start at the same time and read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise

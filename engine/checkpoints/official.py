"""Official Ultralytics weights by name, such as ``yolov8s.pt``: found on disk, or downloaded once."""

from __future__ import annotations

import inspect
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.errors import CheckpointError
from engine.base.files import atomic_path, require_free_space
from engine.base.runtime import import_ultralytics

if TYPE_CHECKING:
    import requests

# Seconds to connect, and between two pieces of the file.
TIMEOUT_S = (5, 20)
_CHUNK_BYTES = 1 << 20


def is_official_name(name: str) -> bool:
    """Return whether this is the bare file name of weights that Ultralytics publishes."""
    import_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    return name.endswith(".pt") and name in GITHUB_ASSETS_NAMES


def fetch_official_weights(name: str, folder: Path) -> Path:
    """Return the path of official weights, downloading them into ``folder`` if they are nowhere yet.

    Looks first at ``name`` itself, then in ``folder``, then in Ultralytics' own weights folder. A download is one
    attempt with a short timeout, written aside and renamed, so that no partial file is ever found later.

    Raises:
        CheckpointError: the name is neither a file nor official, or it could not be downloaded.
        StorageError: the folder has no room for it or cannot be written.
    """
    settings = import_ultralytics().settings
    official = is_official_name(name)
    candidates = [Path(name)]
    if official:
        candidates += [folder / name, Path(settings["weights_dir"]) / name]
    for path in candidates:
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise CheckpointError(f"{name} is a folder; give the file, such as {Path(name) / 'best.pt'}.")
    if not official:
        raise CheckpointError(f"{name} does not exist and is not the name of official Ultralytics weights.")
    return _download(_address(name), folder / name)


def told_path(scratch: Path, name: str, folder: str) -> tuple[str, dict[str, Any]]:
    """Return the same as a child process answers: who asks need not import Ultralytics."""
    return str(fetch_official_weights(name, Path(folder))), {}


def _address(name: str) -> str:
    """Return where the pinned Ultralytics release itself would download these weights from."""
    from ultralytics.utils import ASSETS_URL
    from ultralytics.utils.downloads import attempt_download_asset

    release = inspect.signature(attempt_download_asset).parameters["release"].default
    return f"{ASSETS_URL.rpartition('/')[0]}/{release}/{name}"


def _download(address: str, path: Path) -> Path:
    import requests

    try:
        with requests.get(address, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            _save(response, path)
    except requests.RequestException as error:
        refused = getattr(error, "response", None)
        cause = "no connection" if refused is None else f"the server answered {refused.status_code}"
        raise _could_not_download(address, path, cause) from error
    return path


def _save(response: requests.Response, path: Path) -> None:
    expected_bytes = int(response.headers.get("Content-Length", 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    require_free_space(path.parent, expected_bytes)
    with atomic_path(path) as aside:
        with open(aside, "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
        if expected_bytes and Path(aside).stat().st_size != expected_bytes:
            raise _could_not_download(response.url, path, "the connection broke off")
        # A proxy's sign-in page arrives with status 200 and would otherwise be taken for the weights from now on.
        if not zipfile.is_zipfile(aside):
            raise _could_not_download(response.url, path, "what arrived is not a checkpoint")


def _could_not_download(address: str, path: Path, cause: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is an official name but could not be downloaded ({cause}); "
        f"download it from {address.partition('?')[0]} on a connected machine and give its path."
    )

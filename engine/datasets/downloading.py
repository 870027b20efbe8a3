"""Download a data set that Ultralytics ships a description of, by Ultralytics' own mechanism, once a person asked to.

It runs in a process of its own, because descriptions carry Python code; only those of the installed package are run.
Everything is written aside and renamed when it is whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from engine.datasets.check import check_dataset, resolved_yaml
from engine.datasets.shipped import Offer, dataset_folders, has_images, is_shipped, offer_of, shipped_description
from engine.errors import DatasetError
from engine.files import writing_to
from engine.runtime import worker_environment

TIMEOUT_S = (5, 20)
"Seconds to connect, and for the first answer."
Report = Callable[[dict[str, Any]], None]


def fetch_if_missing(data: str, folder: Path, report: Report) -> None:
    """Download the images of a shipped description unless they are there; any other data set is left alone.

    Errors as ``download``.
    """
    yaml_path = None if os.path.exists(os.path.expanduser(data)) else shipped_description(data)
    if yaml_path is None:
        return
    offer = offer_of(yaml_path)
    if not any(_is_there(candidate / offer.folder, offer) for candidate in (*dataset_folders(), folder)):
        download(offer, folder, report)


def download(offer: Offer, folder: Path, report: Report = lambda event: None) -> Path:
    """Download what a description offers and return its folder, FOLDER/NAME.

    Raises:
        DatasetError: there is nothing to download, no connection, or what arrived is no data set; nothing is left.
        StorageError: the folder cannot be written.
    """
    target = folder / offer.folder
    if not is_shipped(offer.yaml_path):
        raise DatasetError(f"{offer.yaml_path} does not come with Ultralytics, so what it asks to download is not run.")
    if not offer.possible:
        raise DatasetError(f"The images of {offer.name} cannot be downloaded: {offer.sentence}.")
    if _is_there(target, offer):
        return target
    if target.exists():
        raise DatasetError(f"{target} exists, but is not the whole of {offer.name}; move it away and try again.")
    _forget_leavings(offer, folder)
    _check_connection(offer)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=_prefix(offer, os.getpid())))
    try:
        report({"kind": "status", "text": f"Downloading the images of {offer.name} into {target}: {offer.sentence}"})
        _run(offer, aside)
        _check_whole(offer, aside)
        os.replace(aside / offer.folder, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    report({"kind": "status", "text": f"The images of {offer.name} lie in {target}"})
    return target


def described_in(offer: Offer, folder: Path) -> Path | None:
    """Return FOLDER/NAME.yaml, written to mean the set wherever it was found; None while its images are missing."""
    written = folder / offer.name
    if written.is_file() and _still_means_images(written):
        return written  # looking through all images again would make a page wait
    places = [place for place in (folder, *dataset_folders()) if _is_there(place / offer.folder, offer)]
    if not places:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        info = check_dataset(_pointing_at(offer, places[0] / offer.folder, Path(temporary)))
        return resolved_yaml(info, folder, name=offer.name)


def is_under_way(offer: Offer, folder: Path) -> bool:
    """Whether some process is downloading it into this folder."""
    return any(psutil.pid_exists(_owner(path)) for path in folder.glob(f".{offer.yaml_path.stem}-partial-*"))


def _still_means_images(path: Path) -> bool:
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
        return has_images(description, Path(description["path"]))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _run(offer: Offer, aside: Path) -> None:
    """Let Ultralytics download in a process of its own."""
    environment = {**worker_environment(), "YOLO_OFFLINE": "0"}  # or it would not try again after a hiccup
    command = [sys.executable, "-m", "engine.datasets.fetching", str(offer.yaml_path), str(aside)]
    process = subprocess.Popen(
        command, cwd=aside, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
    )
    try:
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code:
        told = aside / "failure.txt"
        reason = told.read_text(encoding="utf-8") if told.exists() else f"exit code {code}"
        raise DatasetError(f"The images of {offer.name} could not be downloaded: {reason}; nothing is left of it.")


def _check_connection(offer: Offer) -> None:
    """Refuse at once what would take minutes to fail.

    Raises:
        DatasetError: no connection, or the server does not have it.
    """
    import requests

    address, host = offer.addresses[0] if offer.addresses else "", ", ".join(offer.hosts[:1])
    if not address:
        return
    try:
        # ASSETS_URL by itself is no file; that somebody answers is enough there.
        with requests.get(address, stream=True, timeout=TIMEOUT_S) as response:
            if not offer.script and response.status_code >= 400:
                raise DatasetError(
                    f"The images of {offer.name} could not be downloaded: {host} answered {response.status_code}."
                )
    except requests.RequestException as error:
        raise DatasetError(
            f"The images of {offer.name} could not be downloaded: there is no connection to {host}; try again with "
            f"one, or copy the folder {offer.folder} from a machine that has it."
        ) from error


def _check_whole(offer: Offer, aside: Path) -> None:
    try:
        check_dataset(_pointing_at(offer, aside / offer.folder, aside))
    except DatasetError as error:
        raise DatasetError(f"What arrived for {offer.name} is no whole data set, and was removed: {error}") from error


def _is_there(root: Path, offer: Offer) -> bool:
    """Whether the training and validation images of a set lie below this folder."""
    return has_images(yaml.safe_load(offer.yaml_path.read_text(encoding="utf-8", errors="ignore")), root)


def _pointing_at(offer: Offer, root: Path, folder: Path) -> Path:
    """Write the description with another folder of images, and nothing to download."""
    description = yaml.safe_load(offer.yaml_path.read_text(encoding="utf-8", errors="ignore"))
    description.pop("download", None)
    path = folder / offer.name
    path.write_text(yaml.safe_dump({**description, "path": str(root)}, sort_keys=False), encoding="utf-8")
    return path


def _prefix(offer: Offer, pid: int) -> str:
    return f".{offer.yaml_path.stem}-partial-{pid}-"


def _owner(path: Path) -> int:
    return int(path.name.rpartition("-partial-")[2].partition("-")[0])


def _forget_leavings(offer: Offer, folder: Path) -> None:
    """Remove what a download that was killed left.

    Raises:
        DatasetError: one is under way.
    """
    if is_under_way(offer, folder):
        raise DatasetError(f"The images of {offer.name} are being downloaded into {folder} already; wait for that.")
    for path in folder.glob(f".{offer.yaml_path.stem}-partial-*"):
        shutil.rmtree(path, ignore_errors=True)

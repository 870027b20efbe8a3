"""Download a data set that Ultralytics ships a description of, by Ultralytics' own mechanism, once a person asked to.

It runs in a process of its own, because descriptions carry Python code; only those of the installed package are run.
Everything is written aside and renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import yaml

from engine.base import numbers
from engine.base.errors import DatasetError, StorageError
from engine.base.events import Report, silent, status_event
from engine.base.files import expanded, writing_to
from engine.base.runtime import worker_environment
from engine.datasets.check import check_dataset, resolved_yaml
from engine.datasets.shipped import Offer, dataset_folders, has_images, is_shipped, offer_of, shipped_description

TIMEOUT_S = (5, 20)
"Seconds to connect, and for the first answer."
TELL_EVERY_S = 10.0
"How often a download says how far it is, and can be told to stop."
_SAME_START_S = 3.0
"A start is noted in whole seconds, and read from a clock that may be adjusted."


def fetch_if_missing(data: str, folder: Path, report: Report) -> None:
    """Download the images of a shipped description unless they are there; any other data set is left alone.

    Errors as ``download``.
    """
    yaml_path = None if os.path.exists(expanded(data)) else shipped_description(data)
    if yaml_path is None:
        return
    offer = offer_of(yaml_path)
    if not any(_is_there(candidate / offer.folder, offer) for candidate in (*dataset_folders(), folder)):
        download(offer, folder, report)


def download(offer: Offer, folder: Path, report: Report = silent) -> Path:
    """Download what a description offers and return its folder, FOLDER/NAME.

    Raises:
        DatasetError: there is nothing to download, no connection, or what arrived is no data set; nothing is left.
        StorageError: the folder cannot be written.
        StopRequested: ``report`` raised it; nothing is left.
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
    _refuse_second(offer, folder)
    _check_connection(offer, target)
    _forget_leavings(offer, folder)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=_prefix(offer, os.getpid())))
    try:
        report(status_event(f"Downloading the images of {offer.name} into {target}: {offer.sentence}"))
        _run(offer, aside, report)
        _check_whole(offer, aside)
        _move_in(aside / offer.folder, target, offer)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    report(status_event(f"The images of {offer.name} lie in {target}"))
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
    return any(_owner_lives(path) for path in folder.glob(f".{offer.yaml_path.stem}-partial-*"))


def _still_means_images(path: Path) -> bool:
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
        return has_images(description, Path(description["path"]))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _run(offer: Offer, aside: Path, report: Report) -> None:
    """Let Ultralytics download in a process of its own."""
    environment = {**worker_environment(), "YOLO_OFFLINE": "0"}  # or it would not try again after a hiccup
    command = [sys.executable, "-m", "engine.datasets.fetching", str(offer.yaml_path), str(aside)]
    process = subprocess.Popen(
        command, cwd=aside, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
    )
    try:
        code = _told_until_it_ends(process, aside, report)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code:
        told = aside / "failure.txt"
        reason = told.read_text(encoding="utf-8") if told.exists() else f"exit code {code}"
        raise DatasetError(f"The images of {offer.name} could not be downloaded: {reason}; nothing is left of it.")


def _told_until_it_ends(process: subprocess.Popen, aside: Path, report: Report) -> int:
    """Return the exit code of a download; until then say how much has arrived."""
    while True:
        try:
            return process.wait(timeout=TELL_EVERY_S)
        except subprocess.TimeoutExpired:
            report(status_event(f"{numbers.megabytes(_size(aside) / 1e6)} on the disk so far"))


def _size(folder: Path) -> int:
    """Return how many bytes the files below a folder take, which others write to at the same time."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _move_in(source: Path, target: Path, offer: Offer) -> None:
    """Give a set its name; two downloads that began at the same time bring the same one."""
    try:
        with writing_to(target.parent):
            os.replace(source, target)
    except (OSError, StorageError):
        if not _is_there(target, offer):
            raise


def _check_connection(offer: Offer, target: Path) -> None:
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
            f"one, or copy the folder {offer.folder} from a machine that has it to {target}."
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
    """Return how the folder of a download begins: a process is known by its number and the second it started."""
    return f".{offer.yaml_path.stem}-partial-{pid}-{int(psutil.Process(pid).create_time())}-"


def _owner_lives(path: Path) -> bool:
    """Whether the process that made the folder of a download still runs; after a restart another has its number."""
    pid, _, rest = path.name.rpartition("-partial-")[2].partition("-")
    try:
        return abs(psutil.Process(int(pid)).create_time() - int(rest.partition("-")[0])) < _SAME_START_S
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True  # of another person


def _refuse_second(offer: Offer, folder: Path) -> None:
    if is_under_way(offer, folder):
        raise DatasetError(f"The images of {offer.name} are being downloaded into {folder} already; wait for that.")


def _forget_leavings(offer: Offer, folder: Path) -> None:
    """Remove what downloads that were killed left."""
    for path in folder.glob(f".{offer.yaml_path.stem}-partial-*"):
        if not _owner_lives(path):
            shutil.rmtree(path, ignore_errors=True)

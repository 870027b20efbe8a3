"""Data sets that Ultralytics ships a description of, such as ``coco8.yaml``: where it lies, and where images may be.

Nothing is downloaded here, and Ultralytics is not imported: that takes seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml

from engine.base.errors import DatasetError
from engine.base.files import expanded

ASSETS_URL = "https://github.com/ultralytics/assets/releases/download/v0.0.0"
"``ultralytics.utils.ASSETS_URL``, which the scripts use by that name."
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".txz", ".tbz2")


class MissingImages(DatasetError):
    """The description is one that Ultralytics ships, but its images are not on this machine."""

    def __init__(self, offer: Offer) -> None:
        """Say what would be downloaded and from whom."""
        super().__init__(f"The images of {offer.name} are not on this machine: {offer.sentence}.")
        self.offer = offer


@dataclass(frozen=True)
class Offer:
    """What Ultralytics would download for one of its descriptions."""

    yaml_path: Path
    folder: str
    "Name of the set's own folder."
    size: str
    "As the description tells it, such as '1 MB'; empty where it does not."
    addresses: tuple[str, ...]
    script: str
    "Python that fetches and converts the files; empty for a single archive."
    possible: bool
    "Whether there is anything to download."

    @property
    def name(self) -> str:
        """Name of the description, such as coco8.yaml."""
        return self.yaml_path.name

    @property
    def hosts(self) -> tuple[str, ...]:
        """Who it comes from."""
        return tuple(dict.fromkeys(filter(None, (urlparse(address).hostname for address in self.addresses))))

    @property
    def sentence(self) -> str:
        """What would be downloaded and from whom, or that nothing can be, without a full stop."""
        if not self.possible:
            return (
                f"they are not offered for download as they are; the comments in {self.yaml_path} say how to get them"
            )
        size = f"{self.size} " if self.size else ""
        by = "by a script of Ultralytics that also converts them" if self.script else "as one archive"
        return f"{size}would be downloaded from {', '.join(self.hosts) or 'where its script says'} {by}"


@cache
def shipped_folder() -> Path | None:
    """Return the folder of the descriptions in the installed package."""
    found = importlib.util.find_spec("ultralytics")
    folder = Path(found.origin).parent / "cfg" / "datasets" if found and found.origin else None
    return folder if folder and folder.is_dir() else None


def shipped_description(name: str | Path) -> Path | None:
    """Return the description that a bare name stands for in Ultralytics (coco8.yaml, coco8), None if for none.

    A file or folder of the person's by that name comes first, and is not looked for here.
    """
    folder, name = shipped_folder(), str(name)
    if folder is None or not name or Path(name).name != name:
        return None
    candidates = [name] if name.endswith((".yaml", ".yml")) else [f"{name}.yaml"]
    return next((folder / each for each in candidates if os.path.isfile(folder / each)), None)


def is_shipped(yaml_path: Path) -> bool:
    """Whether this is a description in the installed package itself, and no copy of one."""
    folder = shipped_folder()
    return folder is not None and yaml_path.parent.resolve() == folder.resolve()


def dataset_folders() -> list[Path]:
    """Return where data sets are looked for by name: ``./datasets``, then ``datasets_dir`` of Ultralytics' settings."""
    return list(dict.fromkeys([Path.cwd() / "datasets", *_datasets_dirs()]))


def download_folder() -> Path:
    """Return where a terminal command downloads to: ``datasets_dir`` of the person's own settings, else ./datasets."""
    return next(iter(_datasets_dirs()[:1] if _own_settings() else []), Path.cwd() / "datasets")


def has_images(description: Mapping[str, Any], root: Path) -> bool:
    """Whether what a description names for training and validation lies below a folder."""
    entries = [description.get(split) for split in ("train", "val")]
    named = [each for entry in entries for each in (entry if isinstance(entry, list) else [entry]) if each]
    return bool(named) and all(os.path.exists(root / each) for each in named)


def offer_of(yaml_path: Path) -> Offer:
    """Return what Ultralytics would download for a shipped description.

    Raises:
        DatasetError: it is none that Ultralytics ships: what another file asks for is never run.
    """
    if not is_shipped(yaml_path):
        raise DatasetError(f"{yaml_path} is no description that Ultralytics ships, so nothing is downloaded for it.")
    text = yaml_path.read_text(encoding="utf-8", errors="ignore")
    description = yaml.safe_load(text)
    download = str(description.get("download") or "").strip()
    archive = download.lower().startswith("http") and download.lower().endswith(_ARCHIVES)
    script = "" if archive or "\n" not in download else download
    addresses = [download] if archive else re.findall(r"https?://[^\s\"'{}<>)]+", _code(script))
    if "ASSETS_URL" in script:
        addresses = [ASSETS_URL, *addresses]
    size = re.search(r"downloads here \(([^)]*)\)", text)
    told = size[1] if size and any(unit in size[1] for unit in ("KB", "MB", "GB", "TB")) else ""
    folder = str(description.get("path") or yaml_path.stem)
    return Offer(yaml_path, folder, told, tuple(addresses), script, archive or bool(script))


def _code(script: str) -> str:
    """Return a script without its comments, whose addresses nobody visits."""
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))


def _datasets_dirs() -> list[Path]:
    """Return ``datasets_dir`` of the person's own settings and of this process's; they are read alone."""
    files = [_own_settings()]
    if chosen := os.environ.get("YOLO_CONFIG_DIR"):
        files.append(expanded(chosen) / "Ultralytics" / "settings.json")
    found = []
    for file in filter(None, files):
        try:
            folder = json.loads(file.read_text(encoding="utf-8")).get("datasets_dir")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(folder, str) and Path(folder).is_absolute():
            found.append(Path(folder))
    return found


def _own_settings() -> Path | None:
    """Return the settings file that stock Ultralytics made for this person, None where there is none."""
    home = Path.home()
    if sys.platform == "win32":
        folder = home / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    file = folder / "Ultralytics" / "settings.json"
    return file if os.path.isfile(file) else None

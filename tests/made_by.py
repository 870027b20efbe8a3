"""What earlier versions made, unpacked for a test."""

import tarfile
from pathlib import Path

FOLDER = Path(__file__).with_name("data")


def unpack(version: str, folder: Path) -> Path:
    """Unpack what a version made below a folder and return where: checkpoint, recipe, data set and workspace."""
    with tarfile.open(FOLDER / f"made-by-{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "harbour-020"

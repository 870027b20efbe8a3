"""The process that downloads a data set: ``python -m engine.datasets.fetching DESCRIPTION FOLDER``.

Started by ``engine.datasets.downloading``, which looks whether the description comes with Ultralytics.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.base.runtime import import_ultralytics


def main(arguments: list[str]) -> int:
    """Let Ultralytics download what a description asks for into a folder; why it failed is left in failure.txt."""
    description, folder = map(Path, arguments)
    import_ultralytics()
    from ultralytics import utils
    from ultralytics.data import utils as data_utils

    utils.DATASETS_DIR = data_utils.DATASETS_DIR = folder
    try:
        data_utils.check_det_dataset(str(description))
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        (folder / "failure.txt").write_text(reason, encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Data sets that Ultralytics knows by name, such as coco8.yaml: found, or offered for download at a press."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from app.frame.session import store
from app.words import format
from engine.base.errors import WorkbenchError
from engine.base.files import expanded
from engine.datasets import (
    MissingImages,
    Offer,
    described_in,
    download,
    is_under_way,
    offer_of,
    shipped_description,
)

_LOOK_S = 1.0


@dataclass
class _Download:
    """One download, which goes on whatever page is looked at."""

    started: float = field(default_factory=time.monotonic)
    ended: bool = False
    error: str = ""


_DOWNLOADS: dict[Path, _Download] = {}
"Folder of the images -> the last download into it that this server started."


def located(path: str, key: str) -> str | None:
    """Return the path of a data set that is there; offer to download one that Ultralytics knows by name.

    A set that is known by name gets a description in the workspace, which means the same images for every job.

    Raises:
        DatasetError: The images are there, but cannot be used.
    """
    shipped = None if os.path.exists(expanded(path)) else shipped_description(path)
    if shipped is None:
        return path
    offer, folder = offer_of(shipped), store().folder / "datasets"
    if described := described_in(offer, folder):
        return str(described)
    _offer_download(offer, folder, key)
    return None


def start_download(offer: Offer, folder: Path) -> None:
    """Download in the background."""
    state = _DOWNLOADS[folder / offer.folder] = _Download()

    def work() -> None:
        try:
            download(offer, folder)
        except WorkbenchError as error:
            state.error = str(error)
        except Exception as error:
            state.error = f"The download met an unexpected error ({type(error).__name__}: {error})."
            raise
        finally:
            state.ended = True

    threading.Thread(target=work, daemon=True, name=f"download {offer.name}").start()


def _offer_download(offer: Offer, folder: Path, key: str) -> None:
    """Say what would be downloaded and from whom, and do it at a press."""
    state = _DOWNLOADS.get(folder / offer.folder)
    if state and not state.ended:
        st.fragment(_wait, run_every=_LOOK_S)(offer, state)
        return
    if state and state.error:
        st.error(format.plain(state.error), icon=":material/error:")
    else:
        st.info(format.plain(str(MissingImages(offer))), icon=":material/cloud_download:")
    if offer.script:
        with st.expander("What the script does", icon=":material/code:"):
            st.code(offer.script, language="python", height=260)
    if is_under_way(offer, folder):
        st.caption("Another process is downloading it into this workspace.")
    elif offer.possible:
        size = f" {offer.size}" if offer.size else ""
        st.button(
            f"Download{size} from {', '.join(offer.hosts)}",
            key=f"{key} download {offer.name}",
            icon=":material/download:",
            on_click=start_download,
            args=(offer, folder),
            help=f"Puts the images into {folder / offer.folder}. It goes on while you look at other pages.",
        )


def _wait(offer: Offer, state: _Download) -> None:
    if state.ended:
        st.rerun()
    so_far = format.duration(time.monotonic() - state.started)
    st.info(
        f"Downloading the images of {format.plain(offer.name)} from {', '.join(offer.hosts)}, for {so_far} now.",
        icon=":material/downloading:",
    )

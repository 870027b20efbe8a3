"""The report of a model as a download."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from engine.base.files import safe_name
from engine.checkpoints.child import Bounds, run_in_child
from engine.demo.shipped import demo_data
from engine.workspace.data import family_data
from engine.workspace.store import Model, Store

_BOUNDS = Bounds(memory_bytes=4_000_000_000, confined=False)
"It reads the workspace's database and several models that were opened before."


def offer_report(store: Store, model: Model) -> None:
    """Offer the report of a model; it is made when it is asked for."""
    st.download_button(
        "Report",
        data=lambda: make_report(store, model),
        file_name=f"{safe_name(model.name)}.html",
        mime="text/html",
        on_click="ignore",
        icon=":material/description:",
        key=f"report {model.id}",
        help="Lineage, settings, gammas, layers, curves and sample predictions in one HTML file. Takes a few seconds.",
    )


def make_report(store: Store, model: Model) -> bytes:
    """Return the report of a model, with predictions on the data set that its family was trained on."""
    known = family_data(store, model)
    data = demo_data(store) if known == "demo" else Path(known) if known else None
    asked = {
        **{"path": str(model.path.absolute()), "name": model.name, "workspace": str(store.folder.absolute())},
        "data": None if data is None else str(data),
    }
    _, told = run_in_child("engine.reports.in_child:told_report", asked, model.name, bounds=_BOUNDS)
    return told["html"].tobytes()

"""The report of a model as a download."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from engine.base.files import safe_name
from engine.demo.shipped import demo_data
from engine.reports import gather, report_html
from engine.workspace.data import family_data
from engine.workspace.store import Model, Store


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
    return report_html(gather(model.path, name=model.name, store=store, data=data)).encode()

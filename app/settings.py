"""The settings that training, fine-tuning and validation share, as widgets."""

from __future__ import annotations

from typing import Any

import streamlit as st
import torch

OPTIMIZERS = ("SGD", "AdamW", "Adam", "MuSGD", "RMSprop")


@st.cache_data(show_spinner=False)
def devices() -> dict[str, str]:
    """Return device -> its name for a person, the fastest first."""
    gpus = {
        str(index): f"GPU {index}: {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())
    }
    apple = {"mps": "Apple GPU"} if torch.backends.mps.is_available() else {}
    return {**gpus, **apple, "cpu": "CPU"}


def run_settings(key: str, *, imgsz: int, epochs: int | None) -> dict[str, Any]:
    """Show epochs, image size, batch and device in one row and return them under the verbs' names.

    Args:
        key: Prefix of the widgets' keys.
        imgsz: Default image size in pixels.
        epochs: Default number of epochs; None for a verb that has none.
    """
    spec: dict[str, Any] = {}
    grid = st.grid(4 if epochs else 3, min_column_width=120)
    if epochs:
        spec["epochs"] = grid.number_input(
            "Epochs", 1, 1000, epochs, key=f"{key} epochs", help="Passes over the training images."
        )
    spec["imgsz"] = grid.number_input(
        "Image size", 32, 2048, imgsz, 32, key=f"{key} imgsz", help="Longest side in pixels, a multiple of 32."
    )
    spec["batch"] = grid.number_input(
        "Batch", 1, 512, 16, key=f"{key} batch", help="Images at a time; lower it when memory runs out."
    )
    names = devices()
    spec["device"] = grid.selectbox(
        "Device", list(names), format_func=names.get, key=f"{key} device", help="One job at a time uses a device."
    )
    return spec


def optimizer_settings(key: str, *, lr0: float) -> dict[str, Any]:
    """Show optimizer and learning rate and return them under the verbs' names."""
    grid = st.grid(2, min_column_width=160)
    optimizer = grid.selectbox(
        "Optimizer",
        OPTIMIZERS,
        key=f"{key} optimizer",
        help="Chosen openly: an automatic one ignores the learning rate.",
    )
    rate = grid.number_input(
        "Learning rate",
        0.00001,
        1.0,
        lr0,
        0.001,
        format="%.5g",
        key=f"{key} lr0",
        help="At the start; it falls over the run. AdamW wants about a tenth of what SGD does.",
    )
    return {"optimizer": optimizer, "lr0": rate}

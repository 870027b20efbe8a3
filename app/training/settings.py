"""The settings that training, fine-tuning and validation share, as widgets."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import streamlit as st

from app.frame.session import explained
from app.training.more_settings import automatic_batch, choose_arguments, choose_automatic_batch, choose_trackers
from app.words import format
from app.words.fields import labelled, numeric, setting
from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size, option_text, rounded_side, rounding_words, size_for_json
from engine.checkpoints.child import run_in_child
from engine.pruning.planning import ProfilePlanner
from engine.settings.fields import Setting, fields_of
from engine.settings.requests import request_of

COMMON: dict[str, int] = {name: setting("train", name).default for name in ("batch", "workers", "nbs")}
"What every training starts with, unless a preset says otherwise."
PRESETS: dict[str, dict[str, int]] = {
    "Standard": {},
    "Quick look": {"epochs": 5, "nbs": 16},
    "Small GPU (2 GB)": {"batch": 4, "workers": 0},
}
Kept = Literal["session"] | None
"Whether a widget keeps its value while another page is shown; only widgets that no other page uses may."


@st.cache_data(show_spinner="Looking for GPUs…")
def _devices() -> dict[str, str]:
    told, _ = run_in_child("engine.base.devices:told_devices", {}, "PyTorch", bounds=None)
    return device_names(told["gpus"], apple=told["apple"])


def devices() -> dict[str, str]:
    """Return device -> its name for a person, the fastest first."""
    with explained():
        return _devices()
    return device_names((), apple=False)


def device_names(gpus: Sequence[str], *, apple: bool) -> dict[str, str]:
    """Return device -> its name for a person: each GPU, all of them together where there are several, the CPU."""
    names = {str(index): f"GPU {index}: {name}" for index, name in enumerate(gpus)}
    if len(gpus) > 1:
        everything = ",".join(names)
        names[everything] = f"All GPUs ({everything})"
    return {**names, **({"mps": "Apple GPU"} if apple else {}), "cpu": "CPU"}


def preset_values(preset: str, epochs: int) -> dict[str, int]:
    """Return what a preset puts into the widgets of a training that takes so many epochs by default."""
    return {"epochs": epochs, **COMMON, **PRESETS[preset]}


def matching_preset(values: dict[str, int], epochs: int) -> str | None:
    """Return the preset whose values the widgets show, None once the person has changed one of them."""
    return next((preset for preset in PRESETS if preset_values(preset, epochs) == values), None)


def choose_preset(key: str, *, epochs: int) -> None:
    """Show the presets; choosing one fills the widgets that ``key`` prefixes."""
    standard = preset_values("Standard", epochs)
    shown = {name: st.session_state.get(f"{key} {name}", value) for name, value in standard.items()}
    st.session_state[f"{key} preset"] = matching_preset(shown, epochs)
    st.segmented_control(
        "Preset",
        list(PRESETS),
        key=f"{key} preset",
        on_change=_fill,
        args=(key, epochs),
        help="Fills the fields below; each can be changed afterwards.\n"
        f"- Standard: {epochs} epochs, batches of {COMMON['batch']}.\n"
        f"- Quick look: {PRESETS['Quick look']['epochs']} epochs, to see whether everything works.\n"
        "- Small GPU: batches of 4, images loaded without extra processes; takes longer, fits into 2 GB.",
    )


def _fill(key: str, epochs: int) -> None:
    if preset := st.session_state[f"{key} preset"]:
        for name, value in preset_values(preset, epochs).items():
            st.session_state[f"{key} {name}"] = value


def run_settings(
    key: str, *, imgsz: int, epochs: int | None, stride: int = 32, columns: int = 4, persist: Kept = None
) -> dict[str, Any]:
    """Show epochs, image size, batch and device and return them under the verbs' names.

    An image size that is no multiple of the model's stride is returned as what becomes of it, and the page says so.

    Args:
        key: Prefix of the widgets' keys.
        imgsz: Default image size in pixels.
        epochs: Default number of epochs; None for a verb that has none.
        stride: What image sizes of the model are multiples of, in pixels.
        columns: How many of them stand side by side where there is room.
        persist: Whether the widgets keep their values across pages.
    """
    spec: dict[str, Any] = {}
    grid = st.grid(min(columns, 4 if epochs else 3), min_column_width=120)
    if epochs:
        spec["epochs"] = grid.number_input(
            **numeric(setting("train", "epochs")), key=_preset(f"{key} epochs", epochs), persist_state=persist
        )
    # The size belongs to the model, so another model starts with its own.
    size = grid.number_input(
        **numeric(setting("train", "imgsz"), f"Longest side in pixels, a multiple of {stride}."),
        key=_preset(f"{key} imgsz {imgsz}", imgsz),
        persist_state=persist,
    )
    spec["batch"] = grid.number_input(
        **numeric(setting("val", "batch")),
        key=_preset(f"{key} batch", COMMON["batch"]),
        persist_state=persist,
        disabled=automatic_batch(key),
    )
    # A measurement takes one device; only training spreads over several.
    names = {device: name for device, name in devices().items() if epochs or "," not in device}
    spec["device"] = grid.selectbox(
        "Device",
        list(names),
        format_func=format.labels_of(names),
        key=f"{key} device",
        persist_state=persist,
        help=setting("train", "device").option.more,
    )
    spec["imgsz"] = told_size(size, stride)
    return spec


class OwnSize(TypedDict):
    """Image size of a model and what its sizes are multiples of, in pixels, as ``run_settings`` takes them."""

    imgsz: int
    stride: int


def own_size(opened: ProfilePlanner) -> OwnSize:
    """Return the image size that a model was trained at, and its stride."""
    return {"imgsz": opened.facts.trained_imgsz, "stride": opened.stride}


def told_size(size: int, stride: int) -> int:
    """Return the image size in pixels that Ultralytics makes of one; a line says so where it differs."""
    if words := rounding_words(size, stride):
        st.caption(f":material/info: {words}")
    return rounded_side(size, stride)


def written_size(place: Any, label: str, usual: ImageSize, key: str, help: str) -> int | list[int] | str:
    """Show an image size that may be height and width; return it as a specification holds it.

    What is no size is returned as it was written: whoever takes the specification says what is wrong with it.
    """
    written = place.text_input(label, option_text(usual), key=key, help=help)
    with contextlib.suppress(PlanError):
        return size_for_json(as_size(written))
    return written


def optimizer_settings(key: str, *, lr0: float, persist: Kept = None) -> dict[str, Any]:
    """Show optimizer and learning rate and return them under the verbs' names."""
    grid = st.grid(2, min_column_width=160)
    optimizer = grid.selectbox(
        "Optimizer",
        [name for name in setting("train", "optimizer").choices if name != "auto"],
        key=f"{key} optimizer",
        persist_state=persist,
        help="Chosen openly: an automatic one ignores the learning rate.",
    )
    rate = grid.number_input(
        **numeric(setting("train", "lr0")),
        format="%.5g",
        key=_preset(f"{key} lr0", lr0),
        persist_state=persist,
    )
    return {"optimizer": optimizer, "lr0": rate}


def advanced_settings(key: str, verb: str, spec: dict[str, Any], persist: Kept = None) -> dict[str, Any] | None:
    """Show, folded away, what is seldom changed; return it under the verbs' names, None while it cannot work.

    Args:
        key: Prefix of the widgets' keys.
        verb: What is trained.
        spec: The settings chosen so far.
        persist: Whether the widgets keep their values across pages.
    """
    fields = [field for field in fields_of(request_of(verb)).values() if field.option.advanced]
    with st.expander("Advanced", icon=":material/tune:"):
        grid = st.grid(2, min_column_width=120)
        chosen = {field.name: _advanced(grid, field, f"{key} {field.name}", persist) for field in fields}
        chosen |= choose_automatic_batch(key, persist) | choose_trackers(key, persist)
        arguments = choose_arguments(key, verb, {**spec, **chosen}, persist)
        return None if arguments is None else chosen | arguments


def _advanced(place: Any, field: Setting, key: str, persist: Kept) -> Any:
    key = _preset(key, field.default)
    if field.is_switch:
        return place.toggle(**labelled(field), key=key, persist_state=persist)
    return place.number_input(**numeric(field), key=key, persist_state=persist)


def _preset(key: str, value: float | None) -> str:
    """Give a widget its first value through the session, where presets and buttons may change it; return its key."""
    st.session_state.setdefault(key, value)
    return key

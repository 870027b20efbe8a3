"""What the address of the Compare page keeps, so that a refresh or a second tab shows the same comparison."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from engine.workspace.store import Model

SPLITS = ("val", "test", "train")
_LIMITS = {"imgsz": (32, 2048), "batch": (1, 512)}
_MEMORY = "compared beside"


def models_to_show(current: Model, known: Collection[str], usual: Sequence[str]) -> list[str]:
    """Return the ids of the models to start with.

    Args:
        current: The current model; a choice counts only beside the model that it was made with.
        known: Ids of the models in the workspace.
        usual: What is compared where nothing was chosen.
    """
    beside, chosen = st.session_state.get(_MEMORY, (current.id, _all("models")))
    kept = [each for each in dict.fromkeys(chosen) if each in known] if beside == current.id else []
    return kept or list(usual)


def reference_to_show(chosen: Sequence[str], usual: str | None) -> str | None:
    """Return the id of the model that changes are told against: the one in the address where it is chosen."""
    wanted = st.query_params.get("reference")
    return wanted if wanted in chosen else usual


def restore_conditions(imgsz_key: str, batch_key: str, split_key: str) -> None:
    """Put the conditions of the address into widgets that have no value yet; what no widget accepts is passed over."""
    for name, key in (("imgsz", imgsz_key), ("batch", batch_key)):
        given = st.query_params.get(name, "")
        low, high = _LIMITS[name]
        if given.isdecimal() and low <= int(given) <= high:
            st.session_state.setdefault(key, int(given))
    if st.query_params.get("split") in SPLITS:
        st.session_state.setdefault(split_key, st.query_params["split"])


def keep_models(current: Model, chosen: Sequence[str], usual: Sequence[str]) -> None:
    """Write the chosen models into the address, unless they are the usual ones."""
    st.session_state[_MEMORY] = (current.id, list(chosen))
    _keep("models", [] if list(chosen) == list(usual) else list(chosen))


def keep(name: str, value: object, usual: object) -> None:
    """Write one value into the address, unless it is the usual one."""
    _keep(name, [] if value == usual else [str(value)])


def _all(name: str) -> list[str]:
    return st.query_params.get_all(name)


def _keep(name: str, values: list[str]) -> None:
    if _all(name) == values:
        return
    if values:
        st.query_params[name] = values
    else:
        st.query_params.pop(name, None)

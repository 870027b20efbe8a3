"""Settings of the table as widgets: label, bounds, step and help as Streamlit takes them. Pure functions."""

from __future__ import annotations

from typing import Any

from annotated_types import Ge, Le

from engine.settings.fields import Setting, fields_of
from engine.settings.requests import request_of


def setting(verb: str, name: str) -> Setting:
    """Return a setting of a verb."""
    return fields_of(request_of(verb))[name]


def labelled(field: Setting, help: str = "") -> dict[str, Any]:
    """Return label and help of a widget; ``help`` takes the place of the table's where only the page knows more."""
    return {"label": field.label, "help": help or field.sentence}


def numeric(field: Setting, help: str = "") -> dict[str, Any]:
    """Return what ``st.number_input`` and ``st.slider`` need of a setting besides its value and key.

    What lies within the table's bounds and beyond what a page offers can be had on the terminal.
    """
    least, most = field.option.least, field.option.most
    limits = {
        "min_value": field.bound(Ge) if least is None else least,
        "max_value": field.bound(Le) if most is None else most,
        "step": field.option.step,
    }
    kind = float if field.kind.name == "number" else int
    told = {name: kind(value) for name, value in limits.items() if value is not None}
    return {**labelled(field, help), **told}


def choice(field: Setting, help: str = "") -> dict[str, Any]:
    """Return what ``st.selectbox`` needs of a setting besides its key: the choices, the default first."""
    return {**labelled(field, help), "options": field.choices, "index": field.choices.index(field.default)}

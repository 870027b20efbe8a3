"""Delete a model, after saying what would miss it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.frame import session
from app.frame.session import explained, store
from app.words import format
from engine.workspace.store import Dependants, Model

_MOST_NAMES = 3


def offer_deletion(model: Model) -> None:
    """Show a button that deletes a model, behind what depends on it; none while a job or a recipe needs it."""
    with st.popover("Delete", icon=":material/delete:"), explained():
        found = store().dependants(model.id)
        if found.needed:
            st.warning(format.plain(found.needed), icon=":material/lock:")
        else:
            st.markdown("Deletes the checkpoint from the workspace.")
        for sentence in warnings(found):
            st.markdown(f"- {format.plain(sentence)}")
        if st.button("Delete the model", key=f"delete {model.id}", type="primary", disabled=bool(found.needed)):
            store().delete_model(model.id)
            session.close_model()
            st.rerun()


def warnings(found: Dependants) -> list[str]:
    """Return what deleting a model does to those that depend on it, a sentence for each kind."""
    said = []
    if found.children:
        said.append(
            f"{_counted(found.children, 'model was', 'models were')} made from it: {_named(found.children)}. A grey "
            "placeholder keeps its place in the tree, with what is known of it."
        )
    if found.commands:
        said.append(
            f"The {_plural(found.commands, 'command that repeats', 'commands that repeat')} {_named(found.commands)} "
            f"{_plural(found.commands, 'names', 'name')} its file, and will not run until it is put back."
        )
    if found.guided:
        said.append(f"It was teacher or reference of {_named(found.guided)}.")
    if found.ended_early:
        said.append(
            f"{_counted(found.ended_early, 'job', 'jobs')} that ended early cannot go on without it: "
            f"{_named(found.ended_early)}."
        )
    if found.exports:
        files = "1 exported file stays" if found.exports == 1 else f"{found.exports} exported files stay"
        said.append(f"{files} on the Jobs page.")
    return said


def _plural(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _counted(names: Sequence[str], one: str, many: str) -> str:
    return f"{len(names)} {_plural(names, one, many)}"


def _named(names: Sequence[str]) -> str:
    """Return 'A', 'A and B' or 'A, B, C and 4 more'."""
    shown, rest = list(names[:_MOST_NAMES]), len(names) - _MOST_NAMES
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]

"""What a browser session knows: the workspace, the current model, and opened checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import streamlit as st

from app.words.format import plain
from engine.base.errors import StorageError, WorkbenchError
from engine.profile.gammas import LayerGammas
from engine.pruning.planning import ProfilePlanner
from engine.workspace.figures import Figures, figures_of
from engine.workspace.profiles import count_model, profile_of
from engine.workspace.store import Model, Store, default_workspace

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "pages"


@st.cache_resource(show_spinner=False)
def _store_in(folder: Path) -> Store:
    return Store(folder)


def store() -> Store:
    """Return the workspace of this server."""
    return _store_in(default_workspace())


@contextlib.contextmanager
def explained(stop: bool = False) -> Iterator[None]:
    """Show an error that is meant for a person as its one sentence; with ``stop`` the page ends there."""
    try:
        yield
    except WorkbenchError as error:
        st.error(plain(str(error)), icon=":material/error:")
        if stop:
            st.stop()


def open_model(model_id: str) -> None:
    """Make a model the current one; its id goes into the URL, so that a refresh or a second tab keeps it."""
    st.session_state["model_id"] = model_id
    st.query_params["model"] = model_id


def restore_model() -> None:
    """Take the current model from the URL or, after a change of page, from the session; run once at every rerun."""
    wanted = st.query_params.get("model") or st.session_state.get("model_id")
    if not wanted:
        return
    try:
        store().model(wanted)
    except StorageError:
        st.session_state.pop("model_id", None)
        st.query_params.pop("model", None)
        st.toast(f"The model {plain(wanted)} is no longer in this workspace.", icon=":material/info:")
        return
    if st.session_state.get("model_id") != wanted or st.query_params.get("model") != wanted:
        open_model(wanted)


def current_model() -> Model | None:
    """Return the current model, if one is open."""
    model_id = st.session_state.get("model_id")
    return store().model(model_id) if model_id else None


def require_model(purpose: str) -> Model:
    """Return the current model; without one, say what the page would do, lead to the models, and stop."""
    model = current_model()
    if model is None:
        with st.container(border=True):
            st.markdown(f"**No model is open.** {purpose}")
            st.page_link(PAGES / "models.py", label="Choose or open a model", icon=":material/arrow_forward:")
        st.stop()
    return model


@st.cache_resource(max_entries=16, show_spinner="Opening the model and tracing its channels…")
def _planner(digest: str, workspace: Path, _model: Model, _store: Store) -> ProfilePlanner:
    return ProfilePlanner(profile_of(_store, _model), lambda imgsz: count_model(_store, _model, imgsz))


def planner(model: Model) -> ProfilePlanner:
    """Return what plans and previews a model, from its profile.

    Raises:
        CheckpointError: The file is gone or cannot be opened.
        PlanError: Nothing of the model can be pruned.
    """
    return _planner(model.digest, store().folder, model, store())


def figures(models: Sequence[Model], *, timed: bool = False) -> dict[str, Figures]:
    """Return id -> figures of models; what was never read of a file is read now, once."""
    if len(store().file_facts(model.digest for model in models)) == len({model.digest for model in models}):
        return figures_of(store(), models, timed=timed)
    with st.spinner("Counting parameters and GFLOPs…"):
        return figures_of(store(), models, timed=timed)


def gammas(model: Model) -> tuple[LayerGammas, ...]:
    """Return the gammas of a model, layer by layer."""
    return planner(model).profile.gammas


def dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def tell_on_next_page(sentence: str) -> None:
    """Keep a sentence for the top of the page that is shown next."""
    st.session_state["told later"] = sentence


def show_what_was_told() -> None:
    """Show the sentence that was kept for this page, once."""
    if sentence := st.session_state.pop("told later", ""):
        st.info(plain(sentence), icon=":material/info:")


def close_model() -> None:
    """Forget the current model."""
    st.session_state.pop("model_id", None)
    st.query_params.pop("model", None)

"""Prune: slide the ratio, see what is left, then make it so."""

import streamlit as st

from app import format, library
from app.data import choose_data
from app.jobs import start_training
from app.live import show_job
from app.preview import show_layers, show_limit, show_numbers
from app.session import PAGES, explained, gammas, open_model, require_model, slimming, store
from app.settings import optimizer_settings, run_settings
from engine.gammas import summarise_gammas
from engine.slimming import Slimming
from engine.solver import DEFAULT_FLOOR, MAX_RATIO, SolverSettings
from engine.store import Model


def choose_limits(opened: Slimming) -> tuple[SolverSettings, int]:
    with st.expander("Limits", icon=":material/tune:"):
        protect, floor, size = st.columns(3, vertical_alignment="bottom")
        protected = protect.toggle(
            "Protect residual channels",
            key="protect",
            bind="query-params",
            help="Keeps every channel that a residual add ties to others, as the classic recipe does. "
            "Off: tied channels are pruned together.",
        )
        smallest = floor.number_input(
            "Floor",
            1,
            64,
            DEFAULT_FLOOR,
            key="floor",
            bind="query-params",
            help="Channels that every layer keeps at least.",
        )
        imgsz = size.number_input(
            "Image size for GFLOPs",
            32,
            2048,
            opened.checkpoint.imgsz,
            32,
            key=f"gflops size {opened.checkpoint.digest}",
            help="In pixels, a multiple of 32. Changes the GFLOPs shown, not the plan.",
        )
    return SolverSettings(protect_residual=protected, floor=smallest), imgsz


def prune_now(model: Model, ratio: float, settings: SolverSettings, imgsz: int) -> Model | None:
    with explained(), st.spinner("Pruning…"):
        return library.prune_into(store(), model, ratio, settings, imgsz)
    return None


def offer_pruning(model: Model, ratio: float, settings: SolverSettings, imgsz: int, sized: int) -> None:
    st.subheader("Make the smaller model")
    with st.container(border=True):
        data = choose_data(model, "finetune")
        spec = run_settings("finetune", imgsz=sized, epochs=10)
        with st.expander("Optimizer", icon=":material/speed:"):
            spec |= optimizer_settings("finetune", lr0=0.005)
        with st.container(horizontal=True, vertical_alignment="center"):
            both = st.button(
                "Prune and fine-tune",
                key="prune and finetune",
                type="primary",
                icon=":material/play_arrow:",
                disabled=ratio == 0 or data is None,
                help="Prunes, then trains the smaller model in the background with these settings.",
            )
            alone = st.button(
                "Prune only",
                key="prune",
                icon=":material/content_cut:",
                disabled=ratio == 0,
                help="Writes a physically smaller checkpoint into the workspace; the original stays as it is.",
            )
            if ratio == 0:
                st.caption("Choose a ratio above 0 first.", width="content")
        if (both or alone) and (made := prune_now(model, ratio, settings, imgsz)):
            st.session_state["pruned"] = (model.id, made.id)
            if both:
                with explained(stop=True):
                    st.query_params["job"] = start_training("finetune", made, {"data": data, **spec}).id
                    st.rerun()
        show_pruned(model)


def show_pruned(model: Model) -> None:
    source, pruned_id = st.session_state.get("pruned", (None, None))
    made = next((other for other in store().models() if other.id == pruned_id), None)
    if source != model.id or made is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Made **{format.plain(made.name)}**, {format.count(made.params)} parameters.", width="content")
        opened = st.button("Open the pruned model", key="open pruned", help="Makes it the current model.")
    if opened:
        open_model(made.id)
        st.switch_page(PAGES / "models.py", query_params={"model": made.id})


@st.fragment
def workbench(model: Model, opened: Slimming) -> None:
    ratio = st.slider(
        "Prune ratio",
        0.0,
        MAX_RATIO,
        0.0,
        0.01,
        key="ratio",
        bind="query-params",
        help="Share of the prunable channels to remove, smallest gammas first.",
    )
    st.session_state["last ratio"] = ratio
    numbers = st.container()
    settings, imgsz = choose_limits(opened)
    with explained(stop=True):
        preview = opened.preview(ratio, settings, imgsz)
    with numbers:
        show_numbers(preview)
        show_limit(preview, settings.floor)
    show_layers(preview)
    offer_pruning(model, ratio, settings, imgsz, opened.checkpoint.imgsz)


st.title("Prune")
model = require_model("Here you slide the prune ratio and see at once what the model then costs.")
with explained(stop=True):
    opened = slimming(model)
    summary = summarise_gammas(gammas(model))
if not summary.sparse and model.kind not in ("pruned", "finetuned"):
    st.info(format.plain(summary.verdict), icon=":material/info:")
    st.page_link(PAGES / "train.py", label="Start sparse training", icon=":material/model_training:")
workbench(model, opened)
if job_id := st.query_params.get("job"):
    st.divider()
    show_job(job_id, manage=False)

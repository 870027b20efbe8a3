"""Train: sparse training, normal training, fine-tuning and validation, each as a job."""

from typing import Any

import streamlit as st

from app.data import choose_data
from app.jobs import start_training
from app.session import PAGES, explained, require_model, slimming
from app.settings import optimizer_settings, run_settings
from engine.sparsity import SCHEDULES

KINDS = {
    "sparsify": ("Sparse training", 50, 0.01),
    "train": ("Normal training", 100, 0.01),
    "finetune": ("Fine-tuning", 50, 0.005),
    "val": ("Validation", None, None),
}
PURPOSES = {
    "sparsify": "Trains on and drives the gammas of unimportant channels to zero, so that pruning can tell them apart.",
    "train": "Plain training from the current weights, without any penalty on gammas.",
    "finetune": "Wins back accuracy after pruning: a lower learning rate, and the model keeps its pruned shape.",
    "val": "Measures mAP, precision and recall; nothing is trained.",
}
METHODS = {
    "targeted": "Looks at first, then chooses which channels matter least and fades only those to zero. "
    "The rest trains on undisturbed. You say how many.",
    "proximal": "Shrinks every gamma a little after each step; those that do not resist reach exact zero.",
    "classic": "The L1 penalty of the Network Slimming paper, added to the gradient. Gammas become small, seldom zero.",
}


def sparsity_settings() -> dict[str, Any]:
    grid = st.grid(2, min_column_width=150)
    left, right = grid.container(), grid.container()
    method = left.selectbox(
        "Method", list(METHODS), format_func=str.capitalize, key="method", help="How gammas are driven to zero."
    )
    st.caption(METHODS[method])
    if method == "targeted":
        ratio = right.slider(
            "Ratio",
            0.05,
            0.95,
            0.5,
            0.05,
            key="sparsity ratio",
            help="Share of the prunable channels that ends at zero. Prune at the same ratio afterwards.",
        )
        return {"method": method, "prune_ratio": ratio}
    strength = right.number_input(
        "Strength",
        0.00001,
        1.0,
        0.01,
        0.001,
        format="%.5g",
        key="strength",
        help="How hard gammas are pulled towards zero. Too little reaches no zero, too much flattens all of them.",
    )
    schedule = right.selectbox(
        "Schedule",
        SCHEDULES,
        format_func=str.capitalize,
        key="schedule",
        help="Constant, or falling to a tenth by the end of the run.",
    )
    return {"method": method, "sr": strength, "schedule": schedule}


def settings_of(kind: str, imgsz: int) -> dict[str, Any]:
    _, epochs, lr0 = KINDS[kind]
    spec: dict[str, Any] = {}
    if kind == "sparsify":
        with st.container(border=True):
            spec |= sparsity_settings()
    spec |= run_settings(kind, imgsz=imgsz, epochs=epochs)
    if kind == "val":
        spec["split"] = st.segmented_control(
            "Split",
            ["val", "test", "train"],
            default="val",
            required=True,
            key="split",
            help="Which images to measure on.",
        )
    else:
        spec |= optimizer_settings(kind, lr0=lr0)
    return spec


st.title("Train")
model = require_model("Here you start sparse training, fine-tuning or a validation; each runs in the background.")
with explained(stop=True):
    opened = slimming(model)
kind = st.segmented_control(
    "Kind",
    list(KINDS),
    default="finetune" if model.kind == "pruned" else "sparsify",
    required=True,
    format_func=lambda kind: KINDS[kind][0],
    key=f"kind {model.id}",
    label_visibility="collapsed",
    help="What to run on the current model.",
)
st.markdown(PURPOSES[kind])
grid = st.grid(2, min_column_width=340)
left, right = grid.container(), grid.container()
with right:
    data = choose_data(model, "train", details=True)
with left:
    spec = settings_of(kind, opened.checkpoint.imgsz)
    if st.button(
        f"Start {KINDS[kind][0].lower()}",
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=data is None,
        help="Runs in the background; you may leave the page.",
    ):
        with explained(stop=True):
            job = start_training(kind, model, {"data": data, **spec})
        st.switch_page(PAGES / "jobs.py", query_params={"job": job.id, "model": model.id})
    if data is None:
        st.caption("Choose a data set first.")

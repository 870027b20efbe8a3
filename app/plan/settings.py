"""What decides a plan, as widgets. They fill the same specification as the terminal's options."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.plan.accuracy import blocks_of
from app.plan.latency import choose_latency, latency_costs, offer_latency
from app.training.settings import written_size
from app.words import format
from app.words.fields import choice, labelled, numeric, setting
from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size
from engine.base.numbers import GFLOPS_IMGSZ
from engine.pruning.planning import ProfilePlanner
from engine.settings.fields import Setting
from engine.settings.plan import RECALIBRATION_IMAGES
from engine.workspace.store import Model

TARGETS = ("Ratio", "Parameters", "GFLOPs", "Latency")
SCOPES = {"global": "One threshold for all", "uniform": "Same ratio in every layer"}
ROUNDINGS = {1: "No rounding", 8: "Multiples of 8", 16: "Multiples of 16", 32: "Multiples of 32"}


def _field(name: str) -> Setting:
    return setting("prune", name)


def choose_target(model: Model, opened: ProfilePlanner) -> tuple[dict[str, Any], str]:
    """Show the slider, or a budget in its place.

    Returns:
        The target under the verb's names, and why nothing can be pruned yet, empty where it can.
    """
    target = st.segmented_control(
        "Prune to",
        TARGETS,
        default="Ratio",
        required=True,
        key="target",
        bind="query-params",
        persist_state="session",
        help="A share of the channels, or the largest model that fits a budget.",
    )
    if target == "Parameters":
        most = opened.facts.params
        return {
            "max_params": st.number_input(
                **numeric(_field("max_params"), _field("max_params").option.more)
                | {"max_value": most, "step": max(most // 50, 1)},
                value=most // 2,
                key=f"max params {opened.digest}",
                persist_state="session",
            )
        }, ""
    if target == "GFLOPs":
        return _choose_gflops(opened), ""
    if target == "Latency":
        return _choose_latency(model, opened)
    ratio = st.slider(
        **numeric(_field("prune_ratio")), value=0.0, key="ratio", bind="query-params", persist_state="session"
    )
    st.session_state["last ratio"] = ratio
    return {"prune_ratio": ratio}, "" if ratio else "Choose a ratio above 0 first."


def _choose_gflops(opened: ProfilePlanner) -> dict[str, Any]:
    try:
        imgsz = _chosen_size(opened)
        most = opened.cost_model(imgsz).before.gflops
    except PlanError:  # the plan below says what is wrong with the size
        return {"prune_ratio": 0.0}
    return {
        "max_gflops": st.number_input(
            **numeric(
                _field("max_gflops"), f"At the image size chosen under Limits. {_field('max_gflops').option.more}"
            )
            | {"max_value": max(most, 0.001), "step": max(round(most / 50, 3), 0.001)},
            value=max(round(most / 2, 3), 0.001),
            format="%.3f",
            key=f"max gflops {opened.digest} {imgsz}",
            persist_state="session",
        )
    }


def _choose_latency(model: Model, opened: ProfilePlanner) -> tuple[dict[str, Any], str]:
    try:
        imgsz = _chosen_size(opened)
        costs = latency_costs(opened, imgsz)
    except PlanError:  # the plan below says what is wrong with the size
        return {"prune_ratio": 0.0}, ""
    if costs is None:
        offer_latency(model, imgsz)
        return {"prune_ratio": 0.0}, "Measure the latency first."
    target = choose_latency(model, opened, imgsz, costs, _chosen_below(model, opened))
    # Predictions hold for one number of threads, so the command that repeats the plan names it.
    return {"target_latency": target, "threads": costs.threads}, ""


def _size_key(opened: ProfilePlanner) -> str:
    return f"gflops size {opened.digest}"


def _chosen_size(opened: ProfilePlanner) -> ImageSize:
    """Return the image size under Limits, which stand below what depends on it; raises PlanError where it is none."""
    return as_size(st.session_state.get(_size_key(opened), GFLOPS_IMGSZ))


def _chosen_below(model: Model, opened: ProfilePlanner) -> dict[str, Any]:
    """Return the limits and scores that are chosen now, whose widgets stand below what depends on them."""
    chosen, digest = st.session_state.get, opened.digest
    known = blocks_of(model) if chosen("spare") else None
    return {
        "floor": chosen("floor"),
        "floor_share": chosen("floor share"),
        "scope": chosen("scope"),
        "round_to": chosen("round to"),
        "lock": chosen(f"locked {digest}"),
        "layer_ratio": _pairs(chosen(f"own ratios {digest}", "")),
        "protect_residual": chosen("protect"),
        "criterion": chosen("criterion"),
        "aggregate": chosen("aggregate"),
        "per_layer": chosen("per layer"),
        "per_flop": chosen("per flop"),
        "sensitivity": str(known[0]) if known else None,
    }


def choose_limits(opened: ProfilePlanner) -> dict[str, Any]:
    """Show what bounds a plan, folded away, and return it under the verb's names."""
    with st.expander("Limits", icon=":material/tune:"):
        grid = st.grid(3, min_column_width=180)
        spec = {
            "floor": grid.number_input(
                **numeric(_field("floor")), value=_field("floor").default, key="floor", bind="query-params"
            ),
            "floor_share": grid.number_input(
                **numeric(_field("floor_share")), value=_field("floor_share").default, key="floor share"
            ),
            "imgsz": written_size(
                grid,
                "Image size for costs",
                GFLOPS_IMGSZ,
                _size_key(opened),
                "Of GFLOPs and latency: pixels, or height and width such as 384,640, multiples of 32. Decides the plan "
                "only where it prunes to one of them.",
            ),
            "scope": grid.selectbox(**choice(_field("scope")), format_func=format.labels_of(SCOPES), key="scope"),
            "round_to": grid.selectbox(
                **labelled(_field("round_to")),
                options=list(ROUNDINGS),
                format_func=format.labels_of(ROUNDINGS),
                key="round to",
            ),
            "lock": grid.multiselect(
                **labelled(_field("lock"), "These keep all their channels, and so do layers that are tied to them."),
                options=[layer.name for layer in opened.graph.layers if layer.prunable_channels],
                key=f"locked {opened.digest}",
            ),
            "layer_ratio": _own_ratios(opened),
            "protect_residual": st.toggle(**labelled(_field("protect_residual")), key="protect", bind="query-params"),
        }
    return spec


def _own_ratios(opened: ProfilePlanner) -> list[str]:
    text = st.text_input(
        _field("layer_ratio").label,
        key=f"own ratios {opened.digest}",
        placeholder="model.0.bn=0.3, model.1.bn=0.5",
        help="Name and ratio of BatchNorm layers, separated by commas; the names stand in the table of layers.",
    )
    return _pairs(text)


def _pairs(text: str) -> list[str]:
    return [pair.strip() for pair in text.split(",") if pair.strip()]


def choose_repair() -> dict[str, Any]:
    """Show what softens the cut, folded away, and return it under the verb's names."""
    with st.expander("After the cut", icon=":material/healing:"):
        grid = st.grid(2, min_column_width=220)
        return {
            "compensate": grid.toggle(
                **labelled(_field("compensate")), value=_field("compensate").default, key="compensate"
            ),
            "recalibrate": grid.number_input(
                **numeric(
                    _field("recalibrate"),
                    "Re-estimates the BatchNorm statistics on training images of the data set above. Empty: on "
                    f"{RECALIBRATION_IMAGES}, but not where all removed gammas are zero, or without a data set. "
                    f"{_field('recalibrate').option.more}",
                ),
                value=None,
                placeholder="Automatic",
                key="recalibrate",
            ),
        }

"""What decides a plan, as widgets. They fill the same specification as the terminal's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from app.plan.accuracy import blocks_of
from app.plan.latency import choose_latency, latency_costs, offer_latency
from app.training.settings import written_size
from app.words import format
from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size
from engine.base.numbers import GFLOPS_IMGSZ
from engine.pruning.criteria import AGGREGATES, ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import DEFAULT_FLOOR, MAX_RATIO
from engine.settings.choices import CRITERIA
from engine.workspace.store import Model

TARGETS = ("Ratio", "Parameters", "GFLOPs", "Latency")
SCOPES = {"global": "One threshold for all", "uniform": "Same ratio in every layer"}
ROUNDINGS = {1: "No rounding", 8: "Multiples of 8", 16: "Multiples of 16", 32: "Multiples of 32"}


def choose_target(model: Model, opened: Slimming) -> tuple[dict[str, Any], str]:
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
        most = opened.checkpoint.params
        return {
            "max_params": st.number_input(
                "At most so many parameters",
                1,
                most,
                most // 2,
                max(most // 50, 1),
                key=f"max params {opened.checkpoint.digest}",
                persist_state="session",
                help="The plan comes as close to this as it can, from below.",
            )
        }, ""
    if target == "GFLOPs":
        return _choose_gflops(opened), ""
    if target == "Latency":
        return _choose_latency(model, opened)
    ratio = st.slider(
        "Prune ratio",
        0.0,
        MAX_RATIO,
        0.0,
        0.01,
        key="ratio",
        bind="query-params",
        persist_state="session",
        help="Share of the prunable channels to remove, the least important first.",
    )
    st.session_state["last ratio"] = ratio
    return {"prune_ratio": ratio}, "" if ratio else "Choose a ratio above 0 first."


def _choose_gflops(opened: Slimming) -> dict[str, Any]:
    try:
        imgsz = _chosen_size(opened)
        most = opened.cost_model(imgsz).before.gflops
    except PlanError:  # the plan below says what is wrong with the size
        return {"prune_ratio": 0.0}
    return {
        "max_gflops": st.number_input(
            "At most so many GFLOPs",
            0.001,
            max(most, 0.001),
            max(round(most / 2, 3), 0.001),
            max(round(most / 50, 3), 0.001),
            format="%.3f",
            key=f"max gflops {opened.checkpoint.digest} {imgsz}",
            persist_state="session",
            help="At the image size chosen under Limits. The plan comes as close as it can, from below.",
        )
    }


def _choose_latency(model: Model, opened: Slimming) -> tuple[dict[str, Any], str]:
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


def _size_key(opened: Slimming) -> str:
    return f"gflops size {opened.checkpoint.digest}"


def _chosen_size(opened: Slimming) -> ImageSize:
    """Return the image size under Limits, which stand below what depends on it; raises PlanError where it is none."""
    return as_size(st.session_state.get(_size_key(opened), GFLOPS_IMGSZ))


def _chosen_below(model: Model, opened: Slimming) -> dict[str, Any]:
    """Return the limits and scores that are chosen now, whose widgets stand below what depends on them."""
    chosen, digest = st.session_state.get, opened.checkpoint.digest
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


def choose_limits(opened: Slimming) -> dict[str, Any]:
    """Show what bounds a plan, folded away, and return it under the verb's names."""
    with st.expander("Limits", icon=":material/tune:"):
        grid = st.grid(3, min_column_width=180)
        spec = {
            "floor": grid.number_input(
                "Floor",
                1,
                64,
                DEFAULT_FLOOR,
                key="floor",
                bind="query-params",
                help="Channels that every layer keeps at least.",
            ),
            "floor_share": grid.number_input(
                "Floor as a share",
                0.0,
                1.0,
                0.0,
                0.05,
                key="floor share",
                help="The same as a share of each layer; the larger of the two holds.",
            ),
            "imgsz": written_size(
                grid,
                "Image size for costs",
                GFLOPS_IMGSZ,
                _size_key(opened),
                "Of GFLOPs and latency: pixels, or height and width such as 384,640, multiples of 32. Decides the plan "
                "only where it prunes to one of them.",
            ),
            "scope": grid.selectbox(
                "Scope",
                list(SCOPES),
                format_func=format.labels_of(SCOPES),
                key="scope",
                help="Rank all channels together, or take the same ratio from every layer.",
            ),
            "round_to": grid.selectbox(
                "Widths",
                list(ROUNDINGS),
                format_func=format.labels_of(ROUNDINGS),
                key="round to",
                help="Rounds every layer up; most hardware is fastest at multiples of 8.",
            ),
            "lock": grid.multiselect(
                "Locked layers",
                [layer.name for layer in opened.graph.layers if layer.prunable_channels],
                key=f"locked {opened.checkpoint.digest}",
                help="These keep all their channels, and so do layers that are tied to them.",
            ),
            "layer_ratio": _own_ratios(opened),
            "protect_residual": st.toggle(
                "Protect residual channels",
                key="protect",
                bind="query-params",
                help="Keeps every channel that a residual add ties to others, as the classic recipe does. "
                "Off: tied channels are pruned together.",
            ),
        }
    return spec


def _own_ratios(opened: Slimming) -> list[str]:
    text = st.text_input(
        "Layers with a ratio of their own",
        key=f"own ratios {opened.checkpoint.digest}",
        placeholder="model.0.bn=0.3, model.1.bn=0.5",
        help="Name and ratio of BatchNorm layers, separated by commas; the names stand in the table of layers.",
    )
    return _pairs(text)


def _pairs(text: str) -> list[str]:
    return [pair.strip() for pair in text.split(",") if pair.strip()]


def choose_scores(sensitivity: Path | None = None) -> dict[str, Any]:
    """Show how channels are scored, folded away, and return it under the verb's names.

    Args:
        sensitivity: File of the model's measured sensitivity, where there is one.
    """
    with st.expander("Scores", icon=":material/sort:"):
        grid = st.grid(4, min_column_width=170)
        spec = {
            "criterion": grid.selectbox(
                "Criterion",
                list(CRITERIA),
                list(CRITERIA).index(ImportanceSettings.criterion),
                format_func=lambda name: CRITERIA[name].label,
                key="criterion",
                help="\n".join(f"- {entry.label}: {entry.text}" for entry in CRITERIA.values()),
            ),
            "aggregate": grid.selectbox(
                "Tied channels", AGGREGATES, key="aggregate", help="How the scores of tied channels become one."
            ),
            "per_layer": grid.toggle(
                "Relative to the layer",
                key="per layer",
                help="Divides scores by their layer's mean, so that layers compete on equal terms.",
            ),
            "per_flop": grid.toggle(
                "Per FLOP",
                key="per flop",
                help="Divides scores by the FLOPs that removal saves, so that a budget is spent where it buys most.",
            ),
        }
        spared = st.toggle(
            "Spare sensitive blocks",
            key="spare",
            disabled=sensitivity is None,
            help="Multiplies the scores of a block's layers by how much mAP its channels were measured to be worth. "
            + ("Measure the sensitivity first, below." if sensitivity is None else "See the heat map below."),
        )
        return {**spec, "sensitivity": str(sensitivity)} if spared and sensitivity else spec


def choose_repair() -> dict[str, Any]:
    """Show what softens the cut, folded away, and return it under the verb's names."""
    with st.expander("After the cut", icon=":material/healing:"):
        grid = st.grid(2, min_column_width=220)
        return {
            "compensate": grid.toggle(
                "Compensate",
                True,
                key="compensate",
                help="Folds the constant that a removed channel still emitted into the layers that read it.",
            ),
            "recalibrate": grid.number_input(
                "Recalibrate on so many images",
                0,
                1024,
                None,
                16,
                placeholder="Automatic",
                key="recalibrate",
                help="Re-estimates the BatchNorm statistics on training images of the data set above. Empty: on 32, "
                "but not where all removed gammas are zero, or without a data set. 0: not at all.",
            ),
        }

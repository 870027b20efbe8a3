"""What sparse training aims at, as widgets. They fill the same specification as the terminal's options."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.frame.session import explained
from app.words.fields import choice, numeric, setting
from engine.base import numbers
from engine.pruning.planning import ProfilePlanner
from engine.pruning.solver import Budget

METHODS = {
    "targeted": "Looks at first, then chooses which channels matter least and fades only those to zero. "
    "The rest trains on undisturbed. You say how many.",
    "proximal": "Shrinks every gamma a little after each step; those that do not resist reach exact zero.",
    "classic": "The L1 penalty of the Network Slimming paper, added to the gradient. Gammas become small, seldom zero.",
}
RATIO, BUDGET = "Ratio", "Budget"
BUDGET_IMGSZ: int = setting("sparsify", "budget_imgsz").default
STRENGTH_KEY = "strength"


def choose_sparsity(opened: ProfilePlanner) -> dict[str, Any] | None:
    """Show the method and its settings and return them under the verb's names, None while they cannot work."""
    left, right = st.columns(2)
    method = left.selectbox(
        **choice(setting("sparsify", "method")), format_func=str.capitalize, key="method", persist_state="session"
    )
    if method == "targeted":
        with right:
            target = _choose_target()
        st.caption(METHODS[method])
        aim = _choose_ratio() if target == RATIO else _choose_budget(opened)
        return None if aim is None else {"method": method, **aim}
    with right:
        strength = _choose_strength()
    st.caption(METHODS[method])
    return {"method": method, "sr": strength, **_choose_course()}


def _choose_target() -> str:
    return st.segmented_control(
        "Aim at",
        [RATIO, BUDGET],
        default=RATIO,
        required=True,
        key="sparsity target",
        persist_state="session",
        help="A share of the channels, or what the pruned model may cost at most.",
    )


def _choose_ratio() -> dict[str, Any]:
    field = setting("sparsify", "prune_ratio")
    ratio = st.slider(
        **numeric(field, f"Share of the prunable channels that ends at zero. {field.option.more}"),
        value=field.default,
        key="sparsity ratio",
        persist_state="session",
    )
    return {"prune_ratio": ratio}


def _choose_budget(opened: ProfilePlanner) -> dict[str, Any] | None:
    now = opened.cost_model(BUDGET_IMGSZ).before
    left, right = st.columns(2)
    with left:
        params = _choose_params(opened.digest, now.params)
    with right:
        gflops = _choose_gflops(opened.digest, now.gflops)
    if params is None and gflops is None:
        st.caption("Give at least one of the two.")
        return None
    with explained():
        st.caption(_budget_sentence(opened, Budget(params, gflops)))
        limits = {"max_params": params, "max_gflops": gflops, "budget_imgsz": BUDGET_IMGSZ}
        return {name: value for name, value in limits.items() if value is not None}
    return None


def _choose_params(digest: str, now: int) -> int | None:
    key = f"sparsity params {digest}"
    st.session_state.setdefault(key, now // 2)
    params = st.number_input(
        "Parameters at most",
        1,
        now,
        None,
        max(now // 50, 1),
        key=key,
        persist_state="session",
        placeholder="any number",
        help=f"Of the model once its channels at zero are pruned; it has {numbers.exact(now)} now. Empty: no limit.",
    )
    st.caption(f"{numbers.exact(now)} now")
    return params


def _choose_gflops(digest: str, now: float) -> float | None:
    gflops = st.number_input(
        "GFLOPs at most",
        0.001,
        float(now),
        None,
        round(now / 50, 3),
        format="%.3f",
        key=f"sparsity gflops {digest}",
        persist_state="session",
        placeholder="any number",
        help=f"At {BUDGET_IMGSZ} px, as parameters. Empty: no limit.",
    )
    st.caption(f"{numbers.gflops(now)} now, at {BUDGET_IMGSZ} px")
    return gflops


def _budget_sentence(opened: ProfilePlanner, budget: Budget) -> str:
    """Say what a budget comes to if the gammas of now decide; raises PlanError where no choice of channels meets it."""
    preview = opened.preview(budget, imgsz=BUDGET_IMGSZ)
    return (
        f"By the gammas of now that takes a ratio of {numbers.ratio(preview.ratio_achieved)} and leaves "
        f"{numbers.count(preview.params)} parameters and {numbers.gflops_at(preview.gflops, BUDGET_IMGSZ)}. The run "
        "itself chooses by what training shows; prune to the same budget afterwards."
    )


def _choose_strength() -> float:
    field = setting("sparsify", "sr")
    st.session_state.setdefault(STRENGTH_KEY, field.default)
    return st.number_input(
        **numeric(field, field.option.more), format="%.5g", key=STRENGTH_KEY, persist_state="session"
    )


def _choose_course() -> dict[str, Any]:
    left, right = st.columns(2)
    schedule = left.selectbox(
        **choice(setting("sparsify", "schedule")), format_func=str.capitalize, key="schedule", persist_state="session"
    )
    warming = setting("sparsify", "sr_warmup")
    warmup = right.slider(**numeric(warming), value=warming.default, key="sparsity warmup", persist_state="session")
    return {"schedule": schedule, "sr_warmup": warmup}

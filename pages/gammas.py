"""Gammas: how the BatchNorm scale factors of the current model are distributed."""

import streamlit as st

from app import charts
from app.frame.session import PAGES, dark, explained, gammas, planner, require_model, store
from app.gammas.layers import layer_plan, median_of, telling_layer
from app.words import format
from engine.base import numbers
from engine.profile.gammas import GammaSummary, LayerGammas, summarise_gammas
from engine.workspace.store import Model

HEATMAP, BANDS = "Heat map", "Percentiles"


def show_verdict(summary: GammaSummary) -> None:
    if summary.sparse:
        st.success(format.plain(summary.verdict), icon=":material/check_circle:")
        return
    st.warning(format.plain(summary.verdict), icon=":material/warning:")
    st.page_link(PAGES / "train.py", label="Start sparse training", icon=":material/model_training:")


def show_numbers(summary: GammaSummary, layers: tuple[LayerGammas, ...]) -> None:
    with st.grid(4, min_column_width=180):
        st.metric("Channels", numbers.exact(summary.channels), help=f"In {len(layers)} BatchNorm layers.", border=True)
        st.metric("Median |gamma|", numbers.gamma(summary.median), help="Half of the channels lie below.", border=True)
        st.metric(
            "Near zero", numbers.percent(summary.near_zero), help="Channels with |gamma| below 0.01.", border=True
        )
        st.metric("Exactly zero", numbers.percent(summary.zero), help="They contribute only a constant.", border=True)


def show_overview(layers: tuple[LayerGammas, ...]) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("All layers")
        kind = st.segmented_control(
            "Overview",
            [HEATMAP, BANDS],
            default=HEATMAP,
            required=True,
            key="overview",
            label_visibility="collapsed",
        )
    draw = charts.gamma_heatmap if kind == HEATMAP else charts.gamma_bands
    st.plotly_chart(draw(layers, dark=dark()), config=charts.CONFIG, key="overview chart")
    st.caption("Each column is one BatchNorm layer, input on the left. Hover to see its name and numbers.")


@st.fragment
def show_close_up(model: Model, layers: tuple[LayerGammas, ...]) -> None:
    st.subheader("One layer")
    by_name = {layer.name: layer for layer in layers}
    left, right = st.columns(2)
    name = left.selectbox(
        "Layer",
        list(by_name),
        index=telling_layer(layers),
        format_func=lambda name: f"{charts.short_name(name)} ({len(by_name[name].values)} channels)",
        key=f"layer {model.digest}",
        help="In the order of the model.",
    )
    ratio = right.slider(
        "Prune ratio of the threshold",
        0.0,
        0.95,
        st.session_state.get("last ratio", 0.5),
        0.01,
        key="threshold ratio",
        help="Colours the channels that pruning at this ratio would remove.",
    )
    with explained(stop=True):
        plan = layer_plan(planner(model), name, ratio)
    values = by_name[name].values
    figure = charts.layer_ranks(values, plan.kept, plan.threshold, dark=dark())
    st.plotly_chart(figure, config=charts.CONFIG, key="layer chart")
    st.caption(format.plain(plan.note))


def show_comparison(model: Model, layers: tuple[LayerGammas, ...]) -> None:
    st.subheader("Compare with another model")
    others = {other.id: other for other in store().models() if other.id != model.id}
    if not others:
        st.caption("Open a second checkpoint, or run sparse training, to see before and after over each other.")
        return
    parent = model.parent_id if model.parent_id in others else None
    chosen = st.selectbox(
        "Other model",
        list(others),
        index=None if parent is None else list(others).index(parent),
        format_func=format.labels_of(format.distinct_labels({other.id: other.name for other in others.values()})),
        placeholder="Choose a model",
        key=f"other {model.id}",
        help="The model that this one was made from, where it is known.",
    )
    if chosen is None:
        return
    with explained(stop=True):
        other_layers = gammas(others[chosen])
    pair = [(model.name, layers), (others[chosen].name, other_layers)]
    with st.grid(2, min_column_width=380):
        st.plotly_chart(charts.gamma_histograms(pair, dark=dark()), config=charts.CONFIG, key="compared histograms")
        st.plotly_chart(charts.median_lines(pair, dark=dark()), config=charts.CONFIG, key="compared medians")
    mine, theirs = median_of(layers), median_of(other_layers)
    st.caption(f"Median |gamma| {numbers.gamma(mine)} here, {numbers.gamma(theirs)} there.")


st.title("Gammas")
model = require_model("Here you see how the gammas of a model are distributed, and whether pruning can rely on them.")
with explained(stop=True):
    layers = gammas(model)
summary = summarise_gammas(layers)
show_verdict(summary)
show_numbers(summary, layers)
show_overview(layers)
st.subheader("All channels")
st.plotly_chart(charts.gamma_histograms([(model.name, layers)], dark=dark()), config=charts.CONFIG, key="histogram")
show_close_up(model, layers)
show_comparison(model, layers)

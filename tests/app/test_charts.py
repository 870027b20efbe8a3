"""Figures from values."""

import numpy as np
import pytest

from app import charts
from engine.profile.cost import Cost
from engine.profile.gammas import LayerGammas
from tests.app.previews import layer_preview


def layers_of(count: int, channels: int = 32) -> list[LayerGammas]:
    rng = np.random.default_rng(0)
    return [LayerGammas(f"model.{index // 8}.cv{index % 8}.bn", rng.random(channels)) for index in range(count)]


def test_an_axis_of_two_hundred_layers_has_few_labels():
    positions, labels = charts.block_ticks([layer.name for layer in layers_of(200)])
    assert len(labels) <= 30
    assert positions[0] == 0 and labels[0] == "0"
    assert all(int(label) == position // 8 for position, label in zip(positions, labels, strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_the_heat_map_counts_every_channel_once(dark):
    layers = layers_of(60)
    heatmap = charts.gamma_heatmap(layers, dark=dark).data[0]
    assert heatmap.customdata[:, :, 1].sum(axis=0).tolist() == [32] * 60


def test_percentile_bands_have_one_point_for_each_layer():
    figure = charts.gamma_bands(layers_of(120), dark=False)
    assert all(len(trace.y) == 120 for trace in figure.data)


def test_a_histogram_of_zeros_alone_can_be_drawn():
    figure = charts.gamma_histograms([("all gone", [LayerGammas("model.0.bn", np.zeros(8))])], dark=False)
    assert sum(figure.data[0].y) == 8


def test_ranks_fall_and_are_coloured_by_the_plan():
    values, kept = np.array([0.1, 0.9, 0.5]), np.array([False, True, True])
    survives, removed = charts.layer_ranks(values, kept, 0.2, dark=False).data
    assert list(survives.y) == [0.9, 0.5] and list(removed.y) == [0.1]
    assert list(removed.customdata) == [0]


def test_layers_of_two_models_are_matched_by_name():
    first = [LayerGammas("a.bn", np.ones(4)), LayerGammas("b.bn", np.ones(4) / 2)]
    second = [LayerGammas("b.bn", np.zeros(2))]
    before, after = charts.median_lines([("first", first), ("second", second)], dark=False).data
    assert list(before.y) == [1.0, 0.5] and list(after.y) == [None, 0.0]


def test_survivors_are_coloured_by_what_holds_them():
    layers = [
        layer_preview("model.0.bn", 16, 8),
        layer_preview("model.1.bn", 16, 4, at_floor=True, bounds=("floor",)),
        layer_preview("model.2.bn", 16, 16, prunable=0, reason="attention"),
    ]
    before, after = charts.survivors(layers, dark=False)["series"]
    assert before["data"] == [16, 16, 16]
    assert [bar["value"] for bar in after["data"]] == [8, 4, 16]
    assert len({bar["itemStyle"]["color"] for bar in after["data"]}) == 3


def test_validation_losses_are_dotted_in_the_colour_of_training():
    series = {"train/box_loss": [(1, 2.0)], "val/box_loss": [(1, 3.0)]}
    train, val = charts.loss_curves(series, 5, dark=False).data
    assert (train.line.dash, val.line.dash) == ("solid", "dot")
    assert train.line.color == val.line.color


def test_the_moving_histogram_needs_no_first_epoch():
    assert len(charts.moving_histogram([0, 0.5, 1], [3, 4], None, dark=True).data) == 1
    assert len(charts.moving_histogram([0, 0.5, 1], [3, 4], [5, 2], dark=True).data) == 2


@pytest.mark.parametrize("dark", [False, True])
def test_gammas_over_the_epochs_are_a_median_in_a_band(dark):
    gammas = [{"median": 0.9, "p10": 0.8, "p90": 1.0}, {"median": 0.5, "p10": 0.0, "p90": 1.0}]
    figure = charts.gamma_course([1, 2], gammas, 10, dark=dark)
    low, high, median = figure.data
    assert list(low.y) == [0.8, 0.0] and list(high.y) == [1.0, 1.0] and list(median.y) == [0.9, 0.5]
    assert high.fill == "tonexty"
    assert list(figure.layout.xaxis.range) == [0.5, 10.5]


def test_the_reach_is_drawn_in_amber_while_it_is_short():
    short = charts.reach_line(0.1, 0.8, 1.0, 1.2, dark=False)
    enough = charts.reach_line(50.0, 0.8, 1.0, 1.2, dark=False)
    assert short.data[0].marker.color[1] != enough.data[0].marker.color[1]
    # A reach far beyond all gammas must not squeeze them into a corner.
    assert enough.layout.xaxis.range[1] <= 4 * 1.2


def test_the_cost_curve_draws_latency_where_costs_have_one():
    plain = [Cost(100, 2.0), Cost(40, 1.0)]
    timed = [Cost(100, 2.0, 20.0), Cost(40, 1.0, 15.0)]
    assert [line["name"] for line in charts.cost_curve([0, 0.5], plain, 0.2, dark=False)["series"]] == [
        "Parameters",
        "GFLOPs",
    ]
    latency = charts.cost_curve([0, 0.5], timed, 0.2, dark=False)["series"][2]
    assert (latency["name"], latency["data"]) == ("Latency", [[0, 100.0], [0.5, 75.0]])

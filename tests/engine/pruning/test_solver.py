"""The mask solver over random channel graphs: what any ratio, score and limit must leave true."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.base.errors import PlanError
from engine.pruning.graph import ChannelGraph
from engine.pruning.solver import MAX_RATIO, SolverSettings, rank, require_feasible, solve
from tests.graphs import graphs, make_graph, scores_for

ROUNDS = settings(max_examples=50, deadline=None, derandomize=True)
RATIOS = st.floats(0, MAX_RATIO)


def limits(protect: bool, floor: int) -> SolverSettings:
    return SolverSettings(protect_residual=protect, floor=floor)


def ranked(graph: ChannelGraph, seed: int, protect: bool, floor: int):
    """Rank, and give up on the example where nothing may be removed."""
    try:
        return rank(graph, scores_for(graph, seed), limits(protect, floor))
    except PlanError:
        assume(False)


SETUP = {"graph": graphs(), "seed": st.integers(0, 10**6), "protect": st.booleans(), "floor": st.integers(1, 6)}


@ROUNDS
@given(**SETUP, ratios=st.tuples(RATIOS, RATIOS))
def test_a_larger_ratio_never_keeps_a_channel_that_a_smaller_one_removed(graph, seed, protect, floor, ratios):
    ranking = ranked(graph, seed, protect, floor)
    gentle, hard = (solve(ranking, ratio) for ratio in sorted(ratios))
    assert not (hard.keep & ~gentle.keep).any()
    assert (hard.kept_channels <= gentle.kept_channels).all()
    assert hard.ratio_achieved >= gentle.ratio_achieved


@ROUNDS
@given(**SETUP, ratio=RATIOS)
def test_every_layer_keeps_its_floor(graph, seed, protect, floor, ratio):
    plan = solve(ranked(graph, seed, protect, floor), ratio)
    assert (plan.kept_channels >= np.minimum(graph.layer_sizes, floor)).all()
    assert plan.keep[0]


@ROUNDS
@given(**SETUP, ratio=RATIOS)
def test_pieces_that_code_cuts_by_position_stay_in_proportion(graph, seed, protect, floor, ratio):
    keep = solve(ranked(graph, seed, protect, floor), ratio).keep
    for constraint in graph.equal_counts:
        kept = {keep[piece].sum() / m for piece, m in zip(constraint.pieces, constraint.multiplicities, strict=True)}
        assert len(kept) == 1


@ROUNDS
@given(**SETUP, ratio=RATIOS)
def test_what_is_achieved_is_counted_and_not_more_than_asked(graph, seed, protect, floor, ratio):
    ranking = ranked(graph, seed, protect, floor)
    plan = solve(ranking, ratio)
    assert plan.ratio_requested == ratio and plan.ratio_achieved <= ratio + 1e-9
    removed = int((graph.layer_sizes - plan.kept_channels).sum())
    assert plan.ratio_achieved == pytest.approx(removed / ranking.prunable_channels)
    assert plan.kept_channels.tolist() == [int(plan.keep[layer.groups].sum()) for layer in graph.layers]


@ROUNDS
@given(**SETUP, ratio=RATIOS)
def test_solving_again_gives_the_same_plan(graph, seed, protect, floor, ratio):
    first = solve(ranked(graph, seed, protect, floor), ratio)
    again = solve(ranked(graph, seed, protect, floor), ratio)
    assert first.keep.tolist() == again.keep.tolist()
    assert (first.max_ratio, first.limiting_layer) == (again.max_ratio, again.limiting_layer)


@ROUNDS
@given(**SETUP, share=st.floats(0, 1))
def test_up_to_the_largest_free_ratio_the_floor_changes_nothing(graph, seed, protect, floor, share):
    ranking = ranked(graph, seed, protect, floor)
    plan = solve(ranking, min(ranking.max_ratio, MAX_RATIO) * share)
    unbound = solve(rank(graph, scores_for(graph, seed), limits(protect, 1)), plan.ratio_requested)
    assert (plan.keep == unbound.keep).all()
    assert not plan.at_floor.any(), "no layer's floor has kept anything yet"


@ROUNDS
@given(**SETUP)
def test_beyond_the_largest_free_ratio_the_limiting_layer_is_held(graph, seed, protect, floor):
    ranking = ranked(graph, seed, protect, floor)
    assert ranking.max_ratio <= ranking.ceiling_ratio + 1e-12
    if not ranking.limiting_layer:
        assert ranking.max_ratio == ranking.ceiling_ratio
        return
    assume(ranking.max_ratio < ranking.ceiling_ratio < MAX_RATIO)
    at_floor = solve(ranking, MAX_RATIO).at_floor
    held = {layer.name for layer, is_held in zip(graph.layers, at_floor, strict=True) if is_held}
    assert ranking.limiting_layer in held


@ROUNDS
@given(**SETUP)
def test_a_ratio_of_zero_keeps_everything(graph, seed, protect, floor):
    plan = solve(ranked(graph, seed, protect, floor), 0)
    assert plan.keep.all() and plan.ratio_achieved == 0 and not plan.at_floor.any()


@ROUNDS
@given(**SETUP, ratio=RATIOS)
def test_protected_residual_groups_all_stay(graph, seed, protect, floor, ratio):
    plan = solve(ranked(graph, seed, True, floor), ratio)
    assert plan.keep[graph.residual].all()


@ROUNDS
@given(**SETUP)
def test_the_ceiling_can_be_reached_and_a_little_more_is_refused(graph, seed, protect, floor):
    ranking = ranked(graph, seed, protect, floor)
    if ranking.ceiling_ratio <= MAX_RATIO:
        require_feasible(ranking, ranking.ceiling_ratio)
        assert solve(ranking, ranking.ceiling_ratio).ratio_achieved == pytest.approx(ranking.ceiling_ratio)
    if ranking.ceiling_ratio + 1e-3 < MAX_RATIO:
        with pytest.raises(PlanError, match=f"{ranking.ceiling_ratio:.3f}"):
            require_feasible(ranking, ranking.ceiling_ratio + 1e-3)


@ROUNDS
@given(**SETUP)
def test_the_ratio_that_the_refusal_names_is_itself_accepted(graph, seed, protect, floor):
    ranking = ranked(graph, seed, protect, floor)
    assume(ranking.ceiling_ratio + 1e-3 < MAX_RATIO)
    with pytest.raises(PlanError) as refusal:
        require_feasible(ranking, MAX_RATIO)
    named = float(str(refusal.value).split("largest possible ratio is ")[1].split(";")[0])
    require_feasible(ranking, named)


@pytest.mark.parametrize("ratio", [-0.1, -1e-9, 0.951, 1, 2, float("nan"), float("inf"), float("-inf")])
def test_a_ratio_out_of_range_is_refused_in_a_sentence(ratio):
    ranking = rank(make_graph([list(range(1, 9))]), np.arange(9.0))
    for refuse in (solve, require_feasible):
        with pytest.raises(PlanError, match="Choose a ratio from 0") as refusal:
            refuse(ranking, ratio)
        assert "\n" not in str(refusal.value)


def test_the_lowest_scores_go_first():
    scores = np.array([np.inf, 1, 5, 6, 2, 3, 9, 9, 9])
    plan = solve(rank(make_graph([[1, 2, 3, 4], [5, 6, 7, 8]]), scores, limits(False, 1)), 0.375)
    assert plan.keep.tolist() == [True, False, True, True, False, False, True, True, True]
    assert plan.kept_channels.tolist() == [2, 3]


def test_a_number_of_channels_that_fits_exactly_is_not_lost_to_rounding():
    ranking = rank(make_graph([list(range(1, 11))]), np.arange(11.0), limits(False, 1))
    assert [solve(ranking, tenth / 10).kept_channels[0] for tenth in range(10)] == list(range(10, 0, -1))


def test_a_group_counts_in_every_layer_that_it_runs_through():
    plan = solve(rank(make_graph([[1, 2, 3, 4], [1, 2, 3, 4]]), np.array([np.inf, 1, 2, 3, 4]), limits(False, 1)), 0.25)
    assert plan.kept_channels.tolist() == [3, 3] and plan.ratio_achieved == 0.25


def test_the_layer_that_stands_in_the_way_is_named():
    ranking = rank(make_graph([[1, 2], [3, 4, 5, 6]]), np.array([np.inf, 1, 2, 3, 4, 5, 6]), limits(False, 1))
    assert (ranking.limiting_layer, ranking.max_ratio) == ("layer0.bn", pytest.approx(1 / 6))
    assert ranking.ceiling_ratio == pytest.approx(4 / 6)


def test_a_layer_that_reaches_its_floor_unhindered_is_not_called_held():
    ranking = rank(make_graph([[1, 2], [3, 4]]), np.array([np.inf, 1, 9, 2, 8]), limits(False, 1))
    assert not solve(ranking, 0.25).at_floor.any()
    assert not solve(ranking, 0.5).at_floor.any()


def test_a_layer_that_is_held_above_its_floor_by_what_is_tied_to_it_is_called_held():
    graph = make_graph([[1, 1, 2, 2, 3], [4, 5, 6, 7, 8]])
    ranking = rank(graph, np.array([np.inf, 1, 2, 3, 9, 9, 9, 9, 9.0]), limits(False, 2))
    plan = solve(ranking, 0.9)
    assert ranking.limiting_layer == "layer0.bn" and plan.kept_channels[0] >= 2
    assert plan.at_floor[0]


def test_scores_that_are_not_numbers_count_as_nothing():
    scores = np.array([np.inf, np.nan, 1, np.inf, -np.inf])
    plan = solve(rank(make_graph([[1, 2, 3, 4]]), scores, limits(False, 1)), 0.5)
    assert plan.keep.tolist() == [True, False, True, True, False]


def test_a_model_without_anything_to_remove_is_refused():
    with pytest.raises(PlanError, match="No channel"):
        rank(make_graph([[0, 0, 0]]), np.array([np.inf]))


@pytest.mark.parametrize("floor", [0, -1])
def test_a_floor_that_would_empty_layers_is_refused(floor):
    with pytest.raises(PlanError, match="would empty layers"):
        SolverSettings(floor=floor)


def test_a_floor_above_every_layer_removes_nothing():
    ranking = rank(make_graph([[1, 2, 3]]), np.arange(4.0), limits(False, 100))
    plan = solve(ranking, 0.95)
    assert plan.keep.all() and plan.ratio_achieved == 0
    assert (ranking.max_ratio, ranking.ceiling_ratio, ranking.limiting_layer) == (0.0, 0.0, "layer0.bn")


@pytest.mark.parametrize(
    "limits",
    [
        SolverSettings(floor=1),
        SolverSettings(floor=1, scope="uniform"),
        SolverSettings(floor=1, layer_ratios=(("layer0.bn", 0.29),)),
    ],
    ids=["global", "uniform", "own ratio"],
)
def test_a_ratio_that_binary_numbers_miss_by_a_hair_removes_the_channel_it_names(limits):
    graph = make_graph([list(range(1, 101))])
    assert 0.29 * 100 < 29, "29 of 100 channels, and yet"
    assert solve(rank(graph, np.arange(101.0), limits), 0.29).kept_channels.tolist() == [71]


def test_a_floor_that_binary_numbers_exceed_by_a_hair_keeps_no_channel_more():
    graph = make_graph([list(range(1, 101))])
    assert 0.07 * 100 > 7
    ranking = rank(graph, np.arange(101.0), SolverSettings(floor=1, floor_share=0.07))
    assert solve(ranking, 0.93).kept_channels.tolist() == [7]


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_a_floor_is_named_at_the_very_ratio_that_it_forbids(scope):
    """At 0.29 the 29th of 100 channels would go by its score, and the floor of 72 keeps it."""
    graph = make_graph([list(range(1, 101))])
    ranking = rank(graph, np.arange(101.0), SolverSettings(floor=72, scope=scope))
    assert solve(ranking, 0.29).at_floor.tolist() == [True]
    assert solve(ranking, 0.28).at_floor.tolist() == [False]

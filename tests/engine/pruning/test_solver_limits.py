"""Scopes, floors, rounding, locks and ratios of single layers over random channel graphs."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.base.errors import PlanError
from engine.pruning.graph import ChannelGraph
from engine.pruning.solver import MAX_RATIO, PrunePlan, Ranking, SolverSettings, rank, solve
from tests.graphs import graphs, make_graph, scores_for

ROUNDS = settings(max_examples=60, deadline=None, derandomize=True)
RATIOS = st.floats(0, MAX_RATIO)
SEEDS = st.integers(0, 10**6)


@st.composite
def limits(draw, **fixed) -> SolverSettings:
    """Draw settings of every kind but single layers' ratios; named ones are as given."""
    drawn = {
        "protect_residual": draw(st.booleans()),
        "floor": draw(st.integers(1, 9)),
        "floor_share": draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1 / 3, 1.0])),
        "scope": draw(st.sampled_from(["global", "uniform"])),
        "round_to": draw(st.sampled_from([1, 2, 8, 16, 32])),
    }
    return SolverSettings(**drawn | fixed)


@st.composite
def cases(draw, own_ratios: bool = False, **fixed) -> Ranking:
    """Draw a graph, scores and settings, and return the ranking; examples without anything to remove are dropped."""
    graph = draw(graphs(widest=draw(st.sampled_from([12, 48]))))
    if own_ratios:
        names = draw(st.lists(st.sampled_from([layer.name for layer in graph.layers]), min_size=1, unique=True))
        ratios = st.sampled_from([0.0, 0.0, 0.25, 1 / 3, 0.5, 0.9, 0.95])
        fixed["layer_ratios"] = tuple((name, draw(ratios)) for name in names)
    try:
        return rank(graph, scores_for(graph, draw(SEEDS)), draw(limits(**fixed)))
    except PlanError:
        assume(False)


ANY = st.one_of(cases(), cases(own_ratios=True))


def changed(ranking: Ranking, **settings) -> Ranking:
    """Rank the same graph by the same scores under other settings; scores are read back from the units' order."""
    fields = {**vars(ranking.settings), **settings}
    scores = np.zeros(ranking.graph.group_count)
    scores[ranking.units.groups] = ranking.units.scores[ranking.units.owners]
    return rank(ranking.graph, scores, SolverSettings(**fields))


def floors(ranking: Ranking) -> np.ndarray:
    """Return the (L,) channels that each layer must keep, worked out layer by layer."""
    floor, share = ranking.settings.floor, ranking.settings.floor_share
    return np.array([min(size, max(floor, int(np.ceil(size * share - 1e-9)))) for size in ranking.graph.layer_sizes])


def removed_units(ranking: Ranking, plan: PrunePlan) -> np.ndarray:
    """Return the (C,) units that a plan removes of each class, and hold that none is removed in part."""
    kept = np.bincount(ranking.units.owners, weights=plan.keep[ranking.units.groups])
    whole = np.bincount(ranking.units.owners)
    assert np.isin(kept, [0]).sum() + (kept == whole).sum() == len(kept), "a unit was cut in two"
    return np.bincount(ranking.units.classes, weights=kept == 0, minlength=len(ranking.units.class_sizes)).astype(int)


def names_with(plan: PrunePlan, graph: ChannelGraph, bound: str) -> set[str]:
    return {layer.name for layer, bounds in zip(graph.layers, plan.bounds, strict=True) if bound in bounds}


# --- what any settings leave true ----------------------------------------------------------------------------------


@ROUNDS
@given(ranking=ANY, ratios=st.tuples(RATIOS, RATIOS))
def test_a_larger_ratio_never_keeps_what_a_smaller_one_removed(ranking, ratios):
    gentle, hard = (solve(ranking, ratio) for ratio in sorted(ratios))
    assert not (hard.keep & ~gentle.keep).any()


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_both_floors_hold_and_kept_groups_stay(ranking, ratio):
    plan = solve(ranking, ratio)
    assert (plan.kept_channels >= floors(ranking)).all()
    removable = np.zeros(ranking.graph.group_count, dtype=bool)
    removable[ranking.units.groups] = True
    assert plan.keep[~removable].all() and not removable[0]


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_equal_pieces_stay_in_proportion(ranking, ratio):
    keep = solve(ranking, ratio).keep
    for constraint in ranking.graph.equal_counts:
        kept = {keep[piece].sum() / m for piece, m in zip(constraint.pieces, constraint.multiplicities, strict=True)}
        assert len(kept) == 1


@ROUNDS
@given(ranking=cases(), ratio=RATIOS)
def test_never_more_is_removed_than_asked(ranking, ratio):
    plan = solve(ranking, ratio)
    removed = int((ranking.graph.layer_sizes - plan.kept_channels).sum())
    assert plan.ratio_achieved == pytest.approx(removed / ranking.prunable_channels)
    assert plan.ratio_achieved <= min(ratio, ranking.ceiling_ratio) + 1e-9


@ROUNDS
@given(ranking=cases(own_ratios=True), ratio=RATIOS)
def test_with_ratios_of_their_own_more_is_removed_only_there(ranking, ratio):
    least, plan = solve(ranking, 0), solve(ranking, ratio)
    assert plan.ratio_achieved <= max(ratio, least.ratio_achieved) + 1e-9 or ranking.settings.scope == "uniform"
    others = np.array([not own for own in ranking.own])
    assert not removed_units(ranking, least)[others].any(), "at a ratio of 0 only layers with their own ratio shrink"


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_the_same_question_has_the_same_answer(ranking, ratio):
    first, again = solve(ranking, ratio), solve(changed(ranking), ratio)
    assert first.kept_channels.tolist() == again.kept_channels.tolist()
    assert first.keep.tolist() == solve(ranking, ratio).keep.tolist()
    assert (first.bounds, first.max_ratio, first.limiting_layer) == (
        again.bounds,
        again.max_ratio,
        again.limiting_layer,
    )


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_within_a_class_the_lowest_scores_go(ranking, ratio):
    plan, units = solve(ranking, ratio), ranking.units
    removed = ~plan.keep[units.groups[np.searchsorted(units.owners, np.arange(len(units)))]]
    for number in range(len(units.class_sizes)):
        inside = units.classes == number
        gone, stay = units.scores[inside & removed], units.scores[inside & ~removed]
        assert gone.max(initial=-np.inf) <= stay.min(initial=np.inf)


# --- uniform scope -------------------------------------------------------------------------------------------------


@ROUNDS
@given(ranking=cases(scope="uniform", round_to=1), ratio=RATIOS)
def test_uniform_takes_the_same_share_of_every_class_that_no_floor_holds(ranking, ratio):
    plan = solve(ranking, ratio)
    held = names_with(plan, ranking.graph, "floor")
    for gone, size, footprint in zip(
        removed_units(ranking, plan), ranking.units.class_sizes, ranking.units.footprints, strict=True
    ):
        if not held & {ranking.graph.layers[layer].name for layer, _ in footprint}:
            assert gone <= ratio * size + 1e-9 < gone + 1


@ROUNDS
@given(ranking=cases(scope="uniform", round_to=1))
def test_uniform_names_the_layer_that_ends_the_free_ratio(ranking):
    assert not solve(ranking, min(ranking.max_ratio, MAX_RATIO)).at_floor.any()
    assert bool(ranking.limiting_layer) == (ranking.max_ratio < 1)
    beyond = ranking.max_ratio + 2e-6
    if ranking.limiting_layer and beyond <= MAX_RATIO:
        assert ranking.limiting_layer in names_with(solve(ranking, beyond), ranking.graph, "floor")


@ROUNDS
@given(ranking=cases(scope="uniform"), ratio=RATIOS)
def test_uniform_does_not_depend_on_how_layers_compare(ranking, ratio):
    """Scaling one class's scores changes nothing."""
    units, scores = ranking.units, np.zeros(ranking.graph.group_count)
    scores[units.groups] = (units.scores * (1.0 + 7 * units.classes))[units.owners]
    rescaled = rank(ranking.graph, scores, ranking.settings)
    assert solve(ranking, ratio).kept_channels.tolist() == solve(rescaled, ratio).kept_channels.tolist()


# --- rounding ------------------------------------------------------------------------------------------------------


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_a_layer_of_one_class_ends_at_a_multiple_or_as_it_was(ranking, ratio):
    plan, step = solve(ranking, ratio), ranking.settings.round_to
    classes = Counter(layer for footprint in ranking.units.footprints for layer, _ in footprint)
    for layer, (kept, size) in enumerate(zip(plan.kept_channels, ranking.graph.layer_sizes, strict=True)):
        if classes[layer] == 1:
            assert kept == size or kept % step == 0


@ROUNDS
@given(ranking=cases(round_to=8), ratio=RATIOS)
def test_rounding_keeps_as_little_more_as_it_can(ranking, ratio):
    plain, rounded = solve(changed(ranking, round_to=1), ratio), solve(ranking, ratio)
    assert (rounded.kept_channels >= plain.kept_channels).all()
    sizes = ranking.graph.layer_sizes
    wanted, gone = removed_units(ranking, plain), removed_units(ranking, rounded)
    for most, least, footprint in zip(wanted, gone, ranking.units.footprints, strict=True):
        for between in range(least + 1, most + 1):
            assert any((sizes[layer] - between * count) % 8 for layer, count in footprint), "a wider step would fit"


@ROUNDS
@given(ranking=ANY, ratio=RATIOS)
def test_layers_said_to_be_rounded_are_exactly_those_that_would_be_narrower_without(ranking, ratio):
    plain, rounded = solve(changed(ranking, round_to=1), ratio), solve(ranking, ratio)
    wider = np.flatnonzero(rounded.kept_channels > plain.kept_channels)
    assert names_with(rounded, ranking.graph, "rounding") == {ranking.graph.layers[layer].name for layer in wider}
    assert names_with(rounded, ranking.graph, "floor") == names_with(plain, ranking.graph, "floor")


@pytest.mark.parametrize("step", [8, 16, 32])
def test_ordinary_widths_end_at_multiples(step):
    graph = make_graph([list(range(1, 65)), list(range(65, 193)), list(range(193, 225))])
    ranking = rank(graph, np.random.default_rng(0).random(225), SolverSettings(round_to=step))
    for ratio in np.linspace(0, MAX_RATIO, 40):
        assert not (solve(ranking, ratio).kept_channels % step).any()
    assert solve(ranking, MAX_RATIO).kept_channels.min() == step


# --- floors --------------------------------------------------------------------------------------------------------


@ROUNDS
@given(ranking=cases(round_to=1), ratio=RATIOS)
def test_a_layer_is_said_to_be_at_its_floor_only_where_one_more_unit_would_break_it(ranking, ratio):
    plan, least = solve(ranking, ratio), floors(ranking)
    gone = removed_units(ranking, plan)
    for layer in np.flatnonzero(plan.at_floor):
        through = [
            (number, dict(footprint)[layer])
            for number, footprint in enumerate(ranking.units.footprints)
            if layer in dict(footprint) and gone[number] < ranking.units.class_sizes[number]
        ]
        assert through, "nothing of this layer is left to remove"
        if ranking.settings.scope == "global":
            assert plan.kept_channels[layer] - max(count for _, count in through) < least[layer]
        assert "floor" in plan.bounds[layer]


def test_the_larger_of_two_floors_holds():
    graph = make_graph([list(range(1, 21)), list(range(21, 25))])
    plan = solve(rank(graph, np.arange(25.0), SolverSettings(floor=3, floor_share=0.5)), MAX_RATIO)
    assert plan.kept_channels.tolist() == [10, 3]


def test_a_floor_share_of_one_removes_nothing():
    plan = solve(rank(make_graph([list(range(1, 9))]), np.arange(9.0), SolverSettings(floor_share=1.0)), 0.9)
    assert plan.keep.all() and plan.at_floor.all()


# --- locks and ratios of single layers -----------------------------------------------------------------------------


@ROUNDS
@given(ranking=cases(own_ratios=True), ratio=RATIOS)
def test_a_locked_layer_is_untouched(ranking, ratio):
    plan = solve(ranking, ratio)
    locked = {name for name, own in ranking.settings.layer_ratios if own == 0}
    for layer, kept, bounds in zip(ranking.graph.layers, plan.kept_channels, plan.bounds, strict=True):
        if layer.name in locked:
            assert kept == layer.channels and "rounding" not in bounds
            assert "own ratio" in bounds or not set(layer.groups) & set(ranking.units.groups)


@ROUNDS
@given(ranking=cases(own_ratios=True), ratios=st.tuples(RATIOS, RATIOS))
def test_a_ratio_of_its_own_holds_whatever_the_ratio(ranking, ratios):
    first, second = (solve(ranking, ratio) for ratio in ratios)
    for name, own in ranking.settings.layer_ratios:
        layer = next(index for index, layer in enumerate(ranking.graph.layers) if layer.name == name)
        assert first.kept_channels[layer] == second.kept_channels[layer]
        assert ranking.graph.layer_sizes[layer] - first.kept_channels[layer] <= own * ranking.graph.layer_sizes[layer]


@ROUNDS
@given(ranking=cases(own_ratios=True), ratio=RATIOS)
def test_what_keeps_a_layer_from_its_own_ratio_is_said(ranking, ratio):
    plan = solve(ranking, ratio)
    wanted = dict(ranking.settings.layer_ratios)
    gone = removed_units(ranking, plan)
    for number, footprint in enumerate(ranking.units.footprints):
        names = [ranking.graph.layers[layer].name for layer, _ in footprint]
        asked = [wanted[name] for name in names if name in wanted]
        if asked and gone[number] < int(min(asked) * ranking.units.class_sizes[number] + 1e-9):
            assert any({"floor", "rounding"} & set(plan.bounds[layer]) for layer, _ in footprint)


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_a_layer_keeps_its_own_ratio_while_the_others_share_the_rest(scope):
    graph = make_graph([list(range(1, 11)), list(range(11, 21)), list(range(21, 31))])
    own = (("layer0.bn", 0.0), ("layer1.bn", 0.5))
    ranking = rank(graph, np.arange(31.0), SolverSettings(floor=1, scope=scope, layer_ratios=own))
    for ratio in (0, 0.3, 0.6, 0.95):
        kept = solve(ranking, ratio).kept_channels
        assert kept[:2].tolist() == [10, 5]
    assert kept[2] == 1
    assert solve(ranking, 0).ratio_achieved == pytest.approx(5 / 30)


def test_tied_layers_follow_the_gentler_of_their_ratios():
    graph = make_graph([[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8]])
    own = (("layer0.bn", 0.75), ("layer1.bn", 0.25))
    plan = solve(rank(graph, np.arange(9.0), SolverSettings(floor=1, layer_ratios=own)), 0)
    assert plan.kept_channels.tolist() == [3, 3, 4]
    assert set(plan.bounds[0]) == {"own ratio", "coupled"}


def test_a_floor_that_cuts_a_layers_own_ratio_short_is_listed():
    own = (("layer0.bn", 0.9),)
    plan = solve(rank(make_graph([list(range(1, 11))]), np.arange(11.0), SolverSettings(layer_ratios=own)), 0)
    assert plan.kept_channels.tolist() == [4] and plan.bounds == (("floor", "own ratio"),)


def test_a_layer_that_does_not_exist_is_named_in_the_refusal():
    settings = SolverSettings(layer_ratios=(("model.99.bn", 0.0),))
    with pytest.raises(PlanError, match=r"model\.99\.bn") as refusal:
        rank(make_graph([[1, 2, 3]]), np.arange(4.0), settings)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor_share": -0.1}, {"floor_share": 1.1}, {"floor_share": float("nan")}, {"scope": "local"},
        {"round_to": 0}, {"round_to": -8}, {"layer_ratios": (("a.bn", 1.0),)}, {"layer_ratios": (("a.bn", -0.1),)},
        {"layer_ratios": (("a.bn", float("nan")),)},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused_in_a_sentence(wrong):
    with pytest.raises(PlanError) as refusal:
        SolverSettings(**wrong)
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")

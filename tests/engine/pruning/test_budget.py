"""Budgets and cost curves: the plan that costs most while it costs no more than asked."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.base.errors import PlanError
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.solver import (
    MAX_RATIO,
    Budget,
    Ranking,
    SolverSettings,
    cost_curve,
    rank,
    savings,
    solve,
    solve_budget,
)
from tests.engine.pruning.test_random_graphs import SIZE, chains
from tests.models import build, graph_of

NANO = ["yolov8n", "yolo11n"]
SETTINGS = {
    "plain": SolverSettings(),
    "rounded": SolverSettings(round_to=8),
    "uniform": SolverSettings(scope="uniform"),
    "uniform and rounded": SolverSettings(scope="uniform", round_to=16),
    "with floors": SolverSettings(floor_share=0.25),
    "protected": SolverSettings(protect_residual=True),
    "with ratios of single layers": SolverSettings(layer_ratios=(("model.2.cv1.bn", 0.5), ("model.0.bn", 0.0))),
}
ROUNDS = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
SHARES = (0.95, 0.6, 0.3)


@cache
def costs_of(name: str) -> CostModel:
    return CostModel(graph_of(name), build(name), 320)


def ranked(name: str, limits: SolverSettings) -> Ranking:
    graph = graph_of(name)
    return rank(graph, np.random.default_rng(0).random(graph.group_count), limits)


def assert_closest_from_below(ranking: Ranking, costs: CostModel, budget: Budget) -> None:
    """Hold that the plan meets the budget, and that it would not with one removal fewer."""
    plan = solve_budget(ranking, costs, budget)
    assert budget.met_by(costs.cost(plan.keep))
    again = solve(ranking, plan.ratio_requested)
    assert again.keep.tolist() == plan.keep.tolist() and again.bounds == plan.bounds
    gentlest = solve(ranking, 0)
    if plan.keep.tolist() != gentlest.keep.tolist():
        fewer = solve(ranking, max(plan.ratio_requested - 0.5 / ranking.prunable_channels, 0))
        assert (fewer.kept_channels >= plan.kept_channels).all() and fewer.keep.sum() > plan.keep.sum()
        assert not budget.met_by(costs.cost(fewer.keep))


@pytest.mark.parametrize("limits", SETTINGS)
@pytest.mark.parametrize("name", NANO)
def test_one_removal_fewer_would_exceed_the_budget(name, limits):
    costs, ranking = costs_of(name), ranked(name, SETTINGS[limits])
    smallest = costs.cost(solve(ranking, MAX_RATIO).keep)
    for share in SHARES:
        params = int(smallest.params + share * (costs.before.params - smallest.params))
        gflops = smallest.gflops + share * (costs.before.gflops - smallest.gflops)
        assert_closest_from_below(ranking, costs, Budget(params=params))
        assert_closest_from_below(ranking, costs, Budget(gflops=gflops))
        assert_closest_from_below(ranking, costs, Budget(params=params, gflops=smallest.gflops * 1.5))


@ROUNDS
@given(
    model=chains(),
    seed=st.integers(0, 1000),
    share=st.floats(0, 1),
    limits=st.builds(
        SolverSettings,
        floor=st.integers(1, 4),
        scope=st.sampled_from(["global", "uniform"]),
        round_to=st.sampled_from([1, 2, 4]),
    ),
)
def test_any_budget_of_any_network_is_met_most_closely(model, seed, share, limits):
    graph = trace(model)
    assume(graph.prunable_channels)
    costs = CostModel(graph, model, SIZE)
    ranking = rank(graph, np.random.default_rng(seed).random(graph.group_count), limits)
    smallest = costs.cost(solve(ranking, MAX_RATIO).keep)
    params = int(smallest.params + share * (costs.before.params - smallest.params))
    assert_closest_from_below(ranking, costs, Budget(params=params))
    gflops = smallest.gflops + share * (costs.before.gflops - smallest.gflops)
    assert_closest_from_below(ranking, costs, Budget(gflops=max(gflops, smallest.gflops)))


@pytest.mark.parametrize("limits", SETTINGS)
def test_no_ratio_of_the_slider_gets_closer(limits):
    costs, ranking = costs_of("yolov8n"), ranked("yolov8n", SETTINGS[limits])
    budget = Budget(params=int(0.55 * costs.before.params))
    reached = costs.cost(solve_budget(ranking, costs, budget).keep)
    curve = [cost for cost in cost_curve(ranking, costs, np.linspace(0, MAX_RATIO, 200)) if budget.met_by(cost)]
    assert max(cost.params for cost in curve) <= reached.params <= budget.params


def test_a_budget_that_is_already_met_removes_nothing():
    costs, ranking = costs_of("yolov8n"), ranked("yolov8n", SolverSettings())
    for budget in (Budget(params=costs.before.params), Budget(gflops=costs.before.gflops), Budget(10**12, 10**6)):
        plan = solve_budget(ranking, costs, budget)
        assert plan.keep.all() and plan.ratio_requested == plan.ratio_achieved == 0


@pytest.mark.parametrize("limits", SETTINGS)
def test_an_impossible_budget_says_the_minimum_and_that_minimum_is_possible(limits):
    costs, ranking = costs_of("yolov8n"), ranked("yolov8n", SETTINGS[limits])
    for budget in (Budget(params=1000), Budget(gflops=1e-3), Budget(params=-5), Budget(gflops=float("nan"))):
        with pytest.raises(PlanError, match="smallest model") as refusal:
            solve_budget(ranking, costs, budget)
    said = str(refusal.value).split(" has ")[1].split(" GFLOPs")[0]
    params, gflops = (float(number.replace(",", "")) for number in said.split(" parameters and "))
    plan = solve_budget(ranking, costs, Budget(params=int(params), gflops=gflops))
    assert costs.cost(plan.keep).params == int(params)
    with pytest.raises(PlanError):
        solve_budget(ranking, costs, Budget(params=int(params) - 1))


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(PlanError, match="parameters or of GFLOPs"):
        Budget()


@pytest.mark.parametrize("name", NANO)
def test_with_two_budgets_the_savings_are_the_mean_of_two_shares_of_the_whole(name):
    """Parameters count by the million and operations by the billion; unscaled, one budget would decide alone."""
    graph, costs = graph_of(name), costs_of(name)
    index = {layer.name: layer for layer in graph.layers}
    alone = index["model.22.cv2.0.1.bn" if name == "yolov8n" else "model.23.cv2.0.1.bn"].groups[0]
    keep = np.ones(graph.group_count, dtype=bool)
    keep[alone] = False
    less = costs.cost(keep)
    shares = (1 - less.params / costs.before.params, 1 - less.gflops / costs.before.gflops)
    params, gflops = Budget(params=10**6), Budget(gflops=1.0)
    assert (savings(costs, params)[alone], savings(costs, gflops)[alone]) == pytest.approx(shares, rel=1e-6)
    both = savings(costs, Budget(params=10**6, gflops=1.0))
    assert both == pytest.approx((savings(costs, params) + savings(costs, gflops)) / 2)


# --- cost ----------------------------------------------------------------------------------------------------------


def test_cost_is_additive_where_layers_do_not_touch():
    """Removing channels in two places that share no weight saves the sum of what each saves."""
    graph, costs = graph_of("yolov8n"), costs_of("yolov8n")
    index = {layer.name: layer for layer in graph.layers}
    first, second = (np.unique(index[name].groups)[:5] for name in ("model.0.bn", "model.22.cv2.0.1.bn"))
    assert 0 not in {*first, *second}

    def saved(*removed: np.ndarray) -> np.ndarray:
        keep = np.ones(graph.group_count, dtype=bool)
        keep[np.concatenate(removed)] = False
        cost = costs.cost(keep)
        return np.array([costs.before.params - cost.params, costs.before.gflops - cost.gflops])

    assert saved(first, second) == pytest.approx(saved(first) + saved(second), rel=1e-12)
    assert (saved(first) > 0).all() and (saved(second) > 0).all()


@ROUNDS
@given(model=chains(), seed=st.integers(0, 1000))
def test_every_removed_group_costs_something_and_none_is_negative(model, seed):
    graph = trace(model)
    assume(graph.prunable_channels)
    costs = CostModel(graph, model, SIZE)
    keep = np.random.default_rng(seed).random(graph.group_count) < 0.7
    keep[0] = True
    here = costs.cost(keep)
    assert here.params > 0 and here.gflops > 0
    for group in np.flatnonzero(~keep)[:5]:
        back = keep.copy()
        back[group] = True
        more = costs.cost(back)
        assert more.params > here.params and more.gflops >= here.gflops


@pytest.mark.parametrize("limits", SETTINGS)
def test_a_curve_is_the_cost_of_each_ratio_and_never_rises(limits):
    costs, ranking = costs_of("yolo11n"), ranked("yolo11n", SETTINGS[limits])
    ratios = np.linspace(0, MAX_RATIO, 100)
    curve = cost_curve(ranking, costs, ratios)
    assert curve == [costs.cost(solve(ranking, ratio).keep) for ratio in ratios]
    assert all(a.params >= b.params and a.gflops >= b.gflops for a, b in pairwise(curve))
    assert len(curve) == 100 and curve[-1].params < curve[0].params

import json

import numpy as np
import pytest

from engine.checkpoint import open_checkpoint
from engine.errors import ExportError, PlanError, StopRequested
from engine.latency import LatencyTable, TimedSlimming, measure
from engine.latency.costs import LatencyCosts, ModelParts
from engine.latency.grid import block_channels, grid_points, predict
from engine.latency.layers import ConvolutionShape, TimedConvolution, convolutions
from engine.latency.micro import convolution_ms
from engine.solver import Budget
from engine.verbs import run_verb
from tests.models import build, graph_of

SHAPE = ConvolutionShape((3, 3), (1, 1), (1, 1), (1, 1), 1, "silu", 20, 20)
DEPTHWISE = ConvolutionShape((3, 3), (1, 1), (1, 1), (1, 1), 0, "silu", 20, 20)


def layer(shape=SHAPE, inputs=64, outputs=128):
    return TimedConvolution("conv", shape, inputs, outputs, input_axis=0, output_axis=1, calls=1)


class PlainTable(LatencyTable):
    """A machine on which a convolution takes a microsecond for every 1000 products of its channels."""

    def prepare(self, layers, report):
        pass

    def convolution_ms(self, shape, inputs, outputs):
        return inputs * outputs * 1e-6 * (1 if inputs % 4 == 0 else 2)


def timed_slimming(path, folder):
    slimming = TimedSlimming(open_checkpoint(path), table=PlainTable(folder / "table.json", 1))
    slimming._timed[64] = LatencyCosts(
        slimming.cost_model(64), slimming.graph, slimming.checkpoint.model, 64, slimming._table, "digest",
        lambda: ModelParts(convolutions=8.0, moving=1.0, rest=1.0),
    )  # fmt: skip
    return slimming


def test_at_the_widths_of_the_grid_the_table_is_what_is_predicted():
    def lookup(inputs, outputs):
        return float(inputs + 1000 * outputs)

    for inputs, outputs in grid_points(layer()):
        if inputs % 4 == 0 and inputs >= block_channels():
            assert predict(layer(), inputs, outputs, lookup) == pytest.approx(lookup(inputs, outputs))


def test_between_the_points_a_bilinear_cost_is_met_exactly_and_whole_blocks_are_paid_for():
    def lookup(inputs, outputs):
        return 3.0 + 0.5 * inputs + 0.25 * outputs + 0.125 * inputs * outputs

    block = block_channels()
    assert predict(layer(), 2 * block, 3 * block, lookup) == pytest.approx(lookup(2 * block, 3 * block))
    assert predict(layer(), 2 * block - 4, 3 * block - 5, lookup) == pytest.approx(lookup(2 * block, 3 * block))


def test_inputs_that_are_no_multiple_of_four_are_looked_up_among_their_own():
    def lookup(inputs, outputs):
        return 1.0 if inputs % 4 == 0 else 10.0

    assert predict(layer(), 48, 64, lookup) == pytest.approx(1.0)
    assert predict(layer(), 47, 64, lookup) == pytest.approx(10.0)


def test_only_points_of_the_grid_are_ever_looked_up():
    for shape in (SHAPE, DEPTHWISE):
        timed = layer(shape, 64, 64)
        asked: set[tuple[int, int]] = set()

        def lookup(*point, asked=asked):
            asked.add(point)
            return 1.0

        for inputs in range(1, 65):
            for outputs in [inputs] if shape.groups == 0 else range(1, 65):
                predict(timed, inputs, outputs, lookup)
        assert asked <= set(grid_points(timed))


def test_every_convolution_of_a_pass_is_listed_once_with_its_map_size():
    listed = convolutions(graph_of(), build(), 64)
    assert len(listed) == 64
    first = listed[0]
    assert (first.inputs, first.outputs, first.input_axis) == (3, 16, -1)
    assert (first.shape.height, first.shape.width, first.shape.activation) == (64, 64, "silu")
    assert sum(not each.shape.activation for each in listed) == 7  # six predictions and the box decoding


def test_a_convolution_is_really_timed():
    small, large = convolution_ms(SHAPE, 16, 16, 1), convolution_ms(SHAPE, 256, 256, 1)
    assert 0 < small < large / 10


def test_what_was_measured_is_kept_for_the_next_time(tmp_path):
    table = LatencyTable(tmp_path / "tables" / "table.json", 1)
    timed = layer(DEPTHWISE, 16, 16)
    events = []
    table.prepare([timed], events.append)
    kept = json.loads(table.path.read_text(encoding="utf-8"))
    assert len(kept) == len(grid_points(timed)) and all(value > 0 for value in kept.values())
    assert events[-1]["text"].endswith(f"{len(kept)} of {len(kept)}")
    again = LatencyTable(table.path, 1)
    again.prepare([timed], lambda event: pytest.fail("measured again"))
    point = grid_points(timed)[0]
    assert again.convolution_ms(timed.shape, *point) == table.convolution_ms(timed.shape, *point)


def test_a_stop_while_measuring_keeps_what_there_is(tmp_path):
    def stop(event):
        raise StopRequested

    table = LatencyTable(tmp_path / "table.json", 1)
    with pytest.raises(StopRequested):
        table.prepare([layer()], stop)
    assert len(json.loads(table.path.read_text(encoding="utf-8"))) >= 1


def test_a_damaged_table_counts_as_empty(tmp_path):
    path = tmp_path / "table.json"
    path.write_text("{", encoding="utf-8")
    assert LatencyTable(path, 1).convolution_ms(DEPTHWISE, 16, 16) > 0


def test_the_unpruned_model_is_predicted_to_take_what_it_was_measured_to_take(tiny_checkpoint, tmp_path):
    costs = timed_slimming(tiny_checkpoint(), tmp_path).timed_costs(64)
    assert costs.before.latency_ms == pytest.approx(10.0)
    nothing_left = costs.latency_ms(np.arange(len(graph_of().residual)) == 0)
    assert 1.0 < nothing_left < 3.0


def test_a_latency_budget_is_met_and_not_by_much_more_than_needed(tiny_checkpoint, tmp_path):
    slimming = timed_slimming(tiny_checkpoint(), tmp_path)
    costs = slimming.timed_costs(64)
    plan = slimming.plan(Budget(latency_ms=6.0), imgsz=64)
    assert 5.5 < costs.latency_ms(plan.keep) <= 6.0
    both = slimming.plan(Budget(latency_ms=6.0, params=1_000_000), imgsz=64)
    assert costs.cost(both.keep).params <= 1_000_000 and costs.latency_ms(both.keep) <= 6.0
    with pytest.raises(PlanError, match=r"The smallest model .* takes \d\.\d ms; ask for at least that"):
        slimming.plan(Budget(latency_ms=0.5), imgsz=64)


def test_a_pruned_file_says_which_latency_it_was_pruned_to(tiny_checkpoint, tmp_path):
    slimming = timed_slimming(tiny_checkpoint(), tmp_path)
    pruned = slimming.prune(Budget(latency_ms=6.0), tmp_path / "pruned.pt", imgsz=64)
    assert open_checkpoint(pruned).made["budget"]["latency_ms"] == 6.0


@pytest.mark.slow
def test_a_small_model_is_pruned_to_a_latency_on_this_machine(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    spec = {"weights": str(tiny_checkpoint()), "imgsz": 64, "threads": 1}
    whole = run_verb("preview", {**spec, "target_latency": 1e6})
    assert whole["ratio_achieved"] == 0
    target = 0.8 * whole["latency_ms_before"]
    result = run_verb("preview", {**spec, "target_latency": target})
    assert result["latency_ms"] <= target
    assert result["params"] < result["params_before"]
    assert list((tmp_path / "latency").glob("onnx-*.json"))


@pytest.mark.slow
def test_models_are_measured_in_turns_and_compared_with_the_first(tiny_checkpoint, tmp_path):
    whole = tiny_checkpoint()
    pruned = run_verb("prune", {"weights": str(whole), "prune_ratio": 0.7, "save_dir": str(tmp_path / "out")})["pruned"]
    events = []
    spec = {"weights": [str(whole), pruned], "imgsz": 320, "runtime": ["onnx", "torch"], "threads": 1, "repeats": 12}
    results = run_verb("latency", spec, events.append)["results"]
    assert [(entry["runtime"], entry["weights"]) for entry in results] == [
        (runtime, path) for runtime in ("onnx", "torch") for path in (str(whole), pruned)
    ]
    for first, second in (results[:2], results[2:]):
        assert first["speedup"] == 1 and first["explanation"] == ""
        assert 0 < second["p50_ms"] <= second["p95_ms"]
        assert second["speedup"] == pytest.approx(first["p50_ms"] / second["p50_ms"])
        assert second["ideal_speedup"] == pytest.approx(first["gflops"] / second["gflops"]) and second["explanation"]
    assert results[0]["gflops"] == results[2]["gflops"]
    steps = [event for event in events if event["kind"] == "step"]
    assert steps and steps[-1]["step"] == steps[-1]["steps"] == 17


def test_a_measurement_can_be_stopped(tiny_checkpoint):
    def stop(event):
        if event["kind"] == "step":
            raise StopRequested

    with pytest.raises(StopRequested):
        measure([tiny_checkpoint()], 64, threads=1, repeats=10_000, report=stop)


@pytest.mark.parametrize(
    "arguments",
    [{"repeats": 1}, {"imgsz": 100}, {"threads": -1}, {"runtimes": ("abacus",)}, {"runtimes": ()}],
)
def test_what_cannot_be_measured_is_one_sentence(tiny_checkpoint, arguments):
    with pytest.raises(ExportError) as caught:
        measure([tiny_checkpoint()], **{"imgsz": 64, **arguments})
    assert "\n" not in str(caught.value)

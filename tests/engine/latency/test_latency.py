import json
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engine.base import numbers
from engine.base.errors import ExportError, PlanError, StopRequested, StorageError, WorkbenchError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.latency import LatencyTable, TimedSlimming, grid, known_costs, measure, table_path
from engine.latency.checking import LatencyCheck, check_latency
from engine.latency.convolution import convolution_ms
from engine.latency.costs import LatencyCosts, ModelParts
from engine.latency.grid import block_channels, grid_points, predict
from engine.latency.layers import ConvolutionShape, TimedConvolution, convolutions
from engine.latency.text import latency_text, pruned_lines
from engine.profile.counting import convolutions_run
from engine.pruning.session import Slimming
from engine.pruning.solver import Budget, SolverSettings
from engine.settings.parser import build_parser
from engine.settings.results import dumped, parsed
from engine.verbs import run_verb
from tests.models import build, graph_of
from tests.results import written

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
    slimming._timed[64] = plain_costs(slimming, slimming.table)
    return slimming


def plain_costs(slimming, table):
    layers = convolutions(slimming.graph, slimming.convolutions(64))
    return LatencyCosts(slimming.cost_model(64), slimming.graph, layers, ModelParts(8.0, moving=1.0, rest=1.0), table)


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


@pytest.mark.parametrize("block", [8, 16])
def test_few_inputs_are_predicted_on_every_machine(block, monkeypatch):
    monkeypatch.setattr(grid, "block_channels", lambda: block)
    asked = set()

    def lookup(inputs, outputs):
        asked.add((inputs, outputs))
        return 1.0

    assert [predict(layer(), inputs, 32, lookup) for inputs in range(1, block)] == [1.0] * (block - 1)
    assert asked <= set(grid_points(layer()))


@pytest.mark.parametrize("block", [8, 16])
def test_only_points_of_the_grid_are_ever_looked_up(monkeypatch, block):
    """Whichever vectors the processor has: with blocks of 8, narrow inputs have a single point."""
    monkeypatch.setattr("engine.latency.grid.block_channels", lambda: block)
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
    listed = convolutions(graph_of(), convolutions_run(build(), 64))
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
    steps = [(event["step"], event["steps"]) for event in events if event["kind"] == "step"]
    assert steps == [(number, len(kept)) for number in range(1, len(kept) + 1)]
    assert table.holds([timed]) and not table.holds([layer()])
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


def test_what_is_no_time_counts_as_missing(tmp_path):
    timed = layer(DEPTHWISE, 16, 16)
    table = LatencyTable(tmp_path / "table.json", 1)
    table.prepare([timed], lambda event: None)
    whole = table.model_parts("digest", 64, lambda: {"convolutions": 8.0, "moving": 1.0, "rest": 0})
    kept = json.loads(table.path.read_text(encoding="utf-8"))
    point = next(key for key in kept if key.startswith("conv"))
    for wrong in (0, -1.0, "fast", None, {"rest": 1.0}, float("nan")):
        table.path.write_text(json.dumps({**kept, point: wrong}), encoding="utf-8")
        again = LatencyTable(table.path, 1)
        assert not again.holds([timed]) and again.known_parts("digest", 64) == whole
    table.forget_parts("digest", 64)
    table.save()
    assert LatencyTable(table.path, 1).known_parts("digest", 64) == whole  # until it has been measured anew
    assert table.model_parts("digest", 64, lambda: {**whole, "rest": 2.0})["rest"] == 2.0
    assert LatencyTable(table.path, 1).known_parts("digest", 64)["rest"] == 2.0
    table.path.write_text(json.dumps({**kept, "model digest 64": {"convolutions": 8.0}}), encoding="utf-8")
    assert LatencyTable(table.path, 1).known_parts("digest", 64) is None


def test_a_process_writes_only_what_it_measured(tmp_path):
    def parts(rest):
        return {"convolutions": 8.0, "moving": 1.0, "rest": rest}

    path = tmp_path / "table.json"
    early = LatencyTable(path, 1)
    early.model_parts("digest", 64, lambda: parts(1.0))
    late = LatencyTable(path, 1)
    late.forget_parts("digest", 64)
    late.model_parts("digest", 64, lambda: parts(2.0))
    early.convolution_ms(DEPTHWISE, 16, 16)
    early.save()
    kept = LatencyTable(path, 1)
    assert kept.known_parts("digest", 64) == parts(2.0), "what is newer stays"
    assert kept.convolution_ms(DEPTHWISE, 16, 16) == early.convolution_ms(DEPTHWISE, 16, 16)
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 2


def test_another_machine_s_table_is_not_this_one_s(tmp_path):
    (tmp_path / "onnx-1.0-1-threads-0123456789ab.json").write_text('{"model digest 64": 1}', encoding="utf-8")
    assert LatencyTable.of_this_machine(1, tmp_path).known_parts("digest", 64) is None
    assert table_path(1, tmp_path) != table_path(2, tmp_path)


def test_a_table_that_cannot_be_kept_says_so_where_keeping_it_was_the_purpose(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    table = LatencyTable(tmp_path / "file" / "table.json", 1)
    table.prepare([layer(DEPTHWISE, 16, 16)], lambda event: None)
    with pytest.raises(StorageError):
        table.save()


def test_the_unpruned_model_is_predicted_to_take_what_it_was_measured_to_take(tiny_checkpoint, tmp_path):
    costs = timed_slimming(tiny_checkpoint(), tmp_path).timed_costs(64)
    assert costs.before.latency_ms == pytest.approx(10.0)
    nothing_left = costs.latency_ms(np.arange(len(graph_of().residual)) == 0)
    assert 1.0 < nothing_left < 3.0


def full_table(slimming, path):
    """Write the table of a machine on which ``PlainTable`` tells the truth, and read it again."""
    plain = PlainTable(path, 1)
    for timed in convolutions(slimming.graph, slimming.convolutions(64)):
        for point in grid_points(timed):
            plain._keep(plain._key(timed.shape, *point), plain.convolution_ms(timed.shape, *point))
    plain.model_parts(slimming.checkpoint.digest, 64, lambda: {"convolutions": 8.0, "moving": 1.0, "rest": 1.0})
    return LatencyTable(path, 1)


def test_a_full_table_predicts_and_one_that_lacks_something_does_not(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint())
    empty = LatencyTable(tmp_path / "empty.json", 1)
    assert known_costs(slimming, 64, empty) is None and not empty.path.exists()
    table = full_table(slimming, tmp_path / "table.json")
    costs = known_costs(slimming, 64, table)
    keep = slimming.plan(0.4, imgsz=64).keep
    assert costs.before.latency_ms == pytest.approx(10.0)
    assert costs.latency_ms(keep) == plain_costs(slimming, PlainTable(tmp_path / "plain.json", 1)).latency_ms(keep)
    assert known_costs(slimming, 96, table) is None
    with pytest.raises(PlanError):
        known_costs(slimming, 100, table)
    content = json.loads(table.path.read_text(encoding="utf-8"))
    content.pop(next(key for key in content if key.startswith("conv")))
    table.path.write_text(json.dumps(content), encoding="utf-8")
    assert known_costs(slimming, 64, LatencyTable(table.path, 1)) is None


def test_a_plan_is_made_for_a_latency_by_costs_that_predict_it(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint())
    plain = slimming.cost_model(64)
    costs = known_costs(slimming, 64, full_table(slimming, tmp_path / "table.json"))
    plan = slimming.plan(Budget(latency_ms=6.0), imgsz=64, costs=costs)
    assert 5.5 < costs.latency_ms(plan.keep) <= 6.0
    preview = slimming.describe(plan, 64)
    assert (preview.params, preview.gflops) == (plain.cost(plan.keep).params, plain.cost(plan.keep).gflops)
    assert np.array_equal(costs.marginal_params(), plain.marginal_params())
    assert np.array_equal(costs.marginal_operations(), plain.marginal_operations())


def test_a_latency_budget_without_anything_that_predicts_it_is_one_sentence(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint())
    for ask in (slimming.plan, slimming.preview, lambda budget: slimming.prune(budget, tmp_path / "pruned.pt")):
        with pytest.raises(PlanError, match="Nothing here predicts the latency that this budget names; measure it"):
            ask(Budget(params=2_000_000, latency_ms=6.0))
    assert not (tmp_path / "pruned.pt").exists()


def test_users_of_one_opened_checkpoint_get_what_each_of_them_would_get_alone(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint())
    parts = ModelParts(8.0, moving=1.0, rest=1.0), ModelParts(20.0, moving=3.0, rest=1.0)
    users = [(64, None), (96, None)]
    for imgsz, part in zip((64, 96), parts, strict=True):
        layers = convolutions(slimming.graph, slimming.convolutions(imgsz))
        table = PlainTable(tmp_path / f"{imgsz}.json", 1)
        users.append((imgsz, LatencyCosts(slimming.cost_model(imgsz), slimming.graph, layers, part, table)))

    def ask(opened, user, floor):
        (imgsz, costs), settings = user, SolverSettings(floor=floor)
        budget = Budget(gflops=0.05 * (imgsz / 64) ** 2, latency_ms=0.7 * costs.before.latency_ms if costs else None)
        plan = opened.plan(budget, settings, imgsz, costs=costs)
        return plan.keep.tolist(), opened.describe(plan, imgsz), opened.curve([0.2, 0.5], settings, imgsz, costs=costs)

    asked = [(user, floor) for floor in range(1, 5) for user in users]
    alone = [ask(Slimming(slimming.checkpoint), *asking) for asking in asked[: len(users)]]
    with ThreadPoolExecutor(len(users)) as pool:
        together = list(pool.map(lambda asking: ask(slimming, *asking), asked * 2))
    assert together[: len(users)] == alone
    assert together[len(asked) :] == together[: len(asked)]


def test_a_slider_asks_the_table_nothing(tiny_checkpoint, tmp_path):
    class Counting(PlainTable):
        asked = 0

        def convolution_ms(self, shape, inputs, outputs):
            self.asked += 1
            return super().convolution_ms(shape, inputs, outputs)

    slimming, table = Slimming.open(tiny_checkpoint()), Counting(tmp_path / "table.json", 1)
    costs = plain_costs(slimming, table)
    asked = table.asked
    for step in range(0, 96, 5):
        costs.latency_ms(slimming.plan(step / 100).keep)
    assert asked > 0 and table.asked == asked


def test_a_latency_budget_is_met_and_not_by_much_more_than_needed(tiny_checkpoint, tmp_path):
    slimming = timed_slimming(tiny_checkpoint(), tmp_path)
    costs = slimming.timed_costs(64)
    plan = slimming.plan(Budget(latency_ms=6.0), imgsz=64)
    assert 5.5 < costs.latency_ms(plan.keep) <= 6.0
    both = slimming.plan(Budget(latency_ms=6.0, params=1_000_000), imgsz=64)
    assert costs.cost(both.keep).params <= 1_000_000 and costs.latency_ms(both.keep) <= 6.0
    with pytest.raises(PlanError, match=r"The smallest model .* takes \d\.\d\d\sms; ask for at least that"):
        slimming.plan(Budget(latency_ms=0.5), imgsz=64)


def test_a_pruned_file_says_which_latency_it_was_pruned_to(tiny_checkpoint, tmp_path):
    slimming = timed_slimming(tiny_checkpoint(), tmp_path)
    pruned = slimming.prune(Budget(latency_ms=6.0), tmp_path / "pruned.pt", imgsz=64)
    assert open_checkpoint(pruned).made["budget"]["latency_ms"] == 6.0


def test_the_pruned_model_is_timed_beside_the_whole_one(tiny_checkpoint, tmp_path):
    whole, events = tiny_checkpoint(), []
    pruned = Slimming.open(whole).prune(0.7, tmp_path / "pruned.pt")
    asked = {"target_ms": 1e4, "predicted_ms": 1e4, "imgsz": 160, "threads": 1}
    check = check_latency(whole, pruned, **asked, report=events.append)
    assert 0 < check.pruned_ms < check.whole_ms and check.threads == 1
    assert check.ratio == pytest.approx(1e4 / check.pruned_ms) and "differ by more than 15\u00a0%" in check.note
    steps = [(event["step"], event["steps"]) for event in events if event["kind"] == "step"]
    assert steps[-1][0] == steps[-1][1] >= 15


def checked(target_ms, predicted_ms, pruned_ms):
    return LatencyCheck(target_ms, predicted_ms, 12.0, pruned_ms, threads=2)


def test_a_measured_latency_that_misses_says_so_and_what_to_do():
    assert checked(6.0, 5.9, 6.8).note == "" and checked(6.0, 3.0, 3.1).note == ""
    for note in (checked(6.0, 5.9, 7.2).note, checked(6.0, 6.0, 4.0).note):
        assert "measure again" in note and note.count(". ") == 0 and note.endswith(".")
    assert checked(6.0, 5.9, 7.2).note.startswith("The pruned model takes 20.0\u00a0% longer than asked for; ")
    assert checked(6.0, 6.0, 4.0).note.startswith("Predicted and measured latency differ by more than 15\u00a0%; ")


@pytest.fixture
def to_prune(tiny_checkpoint, tmp_path, monkeypatch):
    """The specification of a prune to a latency; everything that predicts it is known to this machine."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    path = tiny_checkpoint()
    full_table(Slimming.open(path), table_path(1))
    return {"weights": str(path), "imgsz": 64, "threads": 1, "target_latency": 6.0, "save_dir": str(tmp_path / "out")}


def test_pruning_to_a_latency_reports_measured_beside_predicted(to_prune):
    events = []
    result = run_verb("prune", to_prune, events.append)
    assert 0 < result["latency_ms_measured"] < result["latency_ms_measured_before"]
    assert result["latency_ms_before"] == pytest.approx(10.0) and 5.5 < result["latency_ms"] <= 6.0
    assert result["latency_ratio"] == pytest.approx(result["latency_ms"] / result["latency_ms_measured"])
    lines = list(pruned_lines(result))
    assert lines[0].endswith("predicted for ONNX Runtime on this machine")
    before, after = result["latency_ms_measured_before"], result["latency_ms_measured"]
    said = f"measured {numbers.number_ms(before)} -> {numbers.milliseconds(after)} ("
    assert lines[1].startswith(said) and "with 1 thread; predicted / measured: " in lines[1]
    assert lines[2:] == list(filter(None, [result["latency_note"]]))
    status = [event["text"] for event in events if event["kind"] == "status"][-1]
    assert status == f"Latency {'. '.join(lines[1:])}"
    assert json.loads(json.dumps(dumped(result)))["latency_threads"] == 1 and result.stopped is None


def test_the_check_can_be_left_out(to_prune):
    asked = build_parser().parse_args(["prune", "--weights", "a.pt", "--target-latency", "6", "--no-latency-check"])
    result = run_verb("prune", {**to_prune, "check_latency": asked.check_latency})
    assert result.latency_ms and result.latency_ms_measured is None and result.latency_note is None
    assert build_parser().parse_args(["prune", "--weights", "a.pt"]).check_latency is None


def test_a_model_that_cannot_be_timed_is_kept_all_the_same(to_prune, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))  # nowhere to export to
    result = run_verb("prune", to_prune)
    assert open_checkpoint(result["pruned"]).params == result["params"] and len(result["artefacts"]) == 1
    assert result.latency_ms_measured is None and result.stopped is None
    assert result["latency_note"].startswith("The pruned model is written, but its latency could not be measured: ")
    assert list(pruned_lines(result))[1:] == [result["latency_note"]]


def test_a_stop_while_the_pruned_model_is_timed_keeps_it(to_prune):
    def stop(event):
        if event["kind"] == "step":
            raise StopRequested

    result = run_verb("prune", to_prune, stop)
    assert result["stopped"] and open_checkpoint(result["pruned"]).params == result["params"]


@pytest.mark.slow
def test_a_small_model_is_timed_once_and_then_pruned_to_a_latency(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    spec, events = {"weights": str(tiny_checkpoint()), "imgsz": 64, "threads": 1}, []
    result = run_verb("latency", {**spec, "predict": True}, events.append)
    (whole,) = result["predicted"]
    parts = [whole[f"{part}_ms"] for part in ("convolutions", "moving", "rest")]
    assert whole["latency_ms"] == pytest.approx(sum(parts)) and min(parts) > 0
    assert (whole["imgsz"], whole["threads"], whole["weights"]) == (64, 1, spec["weights"])
    assert "yolov8n.pt" in latency_text(result) and f"{whole['latency_ms']:.2f}" in latency_text(result)
    steps = [(event["step"], event["steps"]) for event in events if event["kind"] == "step"]
    assert steps[-1][0] == steps[-1][1] == len(steps) > 100
    assert list((tmp_path / "latency").glob("onnx-*.json")) == [table_path(1)]
    events.clear()
    target = 0.8 * whole["latency_ms"]
    pruned = run_verb("preview", {**spec, "target_latency": target}, events.append)
    assert events == []  # nothing had to be measured
    assert pruned["latency_ms"] <= target and pruned["latency_ms_before"] == pytest.approx(whole["latency_ms"])
    assert pruned["params"] < pruned["params_before"]
    assert run_verb("preview", {**spec, "target_latency": 1e6})["ratio_achieved"] == 0
    run_verb("latency", {**spec, "predict": True}, events.append)  # the whole model again, and nothing else
    assert [event["text"] for event in events] == ["Timing the whole model at 64 px"]


def test_predicting_takes_no_runtime_and_no_impossible_threads(tiny_checkpoint):
    spec = {"weights": str(tiny_checkpoint()), "imgsz": 64, "predict": True}
    for more in ({"runtime": ["torch"]}, {"repeats": 50}):
        with pytest.raises(ExportError, match="leave out --runtime and --repeats"):
            run_verb("latency", {**spec, **more})
    with pytest.raises(WorkbenchError, match="--threads is -1; it must be a whole number of at least 1"):
        run_verb("latency", {**spec, "threads": -1})


def test_a_stop_while_the_whole_model_is_timed_is_heard(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))

    def stop(event):
        assert "whole model" in event["text"]
        raise StopRequested

    with pytest.raises(StopRequested):
        run_verb("latency", {"weights": str(tiny_checkpoint()), "imgsz": 64, "predict": True}, stop)


def test_the_terminal_asks_for_predictions():
    options = build_parser().parse_args(["latency", "--weights", "a.pt", "b.pt", "--predict", "--threads", "1"])
    assert options.predict and options.weights == ["a.pt", "b.pt"] and options.repeats is None


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


def test_a_size_that_does_not_suit_the_model_is_told_with_the_model_s_own_stride(tiny_checkpoint):
    with pytest.raises(ExportError, match=r"yolov8n-p6.pt runs at image sizes that are multiples of 64, and 352 is"):
        measure([tiny_checkpoint("yolov8n-p6")], 352, threads=1, repeats=5)
    with pytest.raises(ExportError, match=r"yolov8n.pt runs at image sizes that are multiples of 32, and 100 is"):
        measure([tiny_checkpoint()], 100, threads=1, repeats=5)


def test_files_of_one_name_are_told_apart_by_their_folders():
    (predicted,) = written("latency --predict")["predicted"]
    paths = ("/runs/1/weights/best.pt", "/runs/2/weights/best.pt")
    told = written("latency --predict", predicted=[{**predicted, "weights": path} for path in paths])
    text = latency_text(parsed("latency", told))
    assert "1/weights/best.pt" in text and "2/weights/best.pt" in text


@pytest.mark.parametrize(
    "arguments",
    [{"repeats": 1}, {"imgsz": 100}, {"threads": -1}, {"runtimes": ("abacus",)}, {"runtimes": ()}],
)
def test_what_cannot_be_measured_is_one_sentence(tiny_checkpoint, arguments):
    with pytest.raises(ExportError) as caught:
        measure([tiny_checkpoint()], **{"imgsz": 64, **arguments})
    assert "\n" not in str(caught.value)

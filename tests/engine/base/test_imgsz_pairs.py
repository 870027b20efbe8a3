"""Rectangular image sizes: height and width wherever Ultralytics takes them, one sentence where it does not."""

import json

import onnx
import pytest
from ultralytics.utils.torch_utils import get_flops

from engine.base.errors import PlanError, WorkbenchError
from engine.base.imgsz import as_size, height_width, option_text, pixels, size_for_json
from engine.checkpoints.checkpoint import open_checkpoint
from engine.latency.table import LatencyTable
from engine.pruning.session import Slimming
from engine.recipes import recipe_from_dict, recipe_to_yaml
from engine.recipes.format import load_recipe
from engine.settings.command import command_of
from engine.settings.parser import build_parser
from engine.settings.results import dumped
from engine.verbs import run_verb
from tests.models import build

PAIR = [384, 640]
quiet = {"report": lambda event: None}


WRITTEN = ["384,640", "384, 640", "384x640", "384 × 640", "[384, 640]", "(384,640)", "384 640", [384, 640], (384, 640)]


@pytest.mark.parametrize("written", WRITTEN)
def test_height_and_width_are_read_however_they_are_written(written):
    size = as_size(written)
    assert size == (384, 640) == height_width(written) and size_for_json(size) == PAIR
    assert (pixels(written), option_text(written)) == ("384 × 640 px", "384,640")


@pytest.mark.parametrize("written", [640, "640", "640,640", [640], [640, 640]])
def test_equal_sides_are_one_number(written):
    assert as_size(written) == 640 == size_for_json(as_size(written)) and height_width(written) == (640, 640)
    assert (pixels(written), option_text(written)) == ("640 px", "640")


@pytest.mark.parametrize("written", ["", "a", "384,", "384,640,3", "-1", 0, -32, 640.5, True, None, [], [384, "640"]])
def test_what_is_no_image_size_is_refused_in_a_sentence(written):
    with pytest.raises(PlanError, match="is no image size; write a number of pixels such as 640, or height,width"):
        as_size(written)


def test_gflops_of_a_rectangular_size_are_what_ultralytics_reports(tiny_checkpoint, tmp_path):
    model, path = build(), tiny_checkpoint()
    for size in (PAIR, PAIR[::-1]):
        expected = get_flops(model, size)
        assert Slimming.open(path).cost_model(tuple(size)).before.gflops == expected
        told = run_verb("inspect", {"weights": str(path), "imgsz": size}, **quiet)
        assert (told["gflops"], told["imgsz"]) == (expected, size)
        spec = {"weights": str(path), "prune_ratio": 0.5, "imgsz": size, "save_dir": str(tmp_path)}
        seen = run_verb("preview", spec, **quiet)
        done = run_verb("prune", spec, **quiet)
        pruned = open_checkpoint(done["pruned"]).model
        assert seen["gflops_before"] == expected and list(seen["imgsz"]) == size
        assert seen["gflops"] == done["gflops"] == get_flops(pruned, size)


def test_a_side_that_is_no_multiple_of_the_stride_is_refused(tiny_checkpoint):
    with pytest.raises(PlanError, match=r"Image size 384,650 is not a positive multiple of 32"):
        Slimming.open(tiny_checkpoint()).cost_model((384, 650))


def test_an_export_has_the_height_and_width_asked_for(tiny_checkpoint, tmp_path):
    spec = {"weights": str(tiny_checkpoint()), "imgsz": [64, 96], "save_dir": str(tmp_path)}
    result = dumped(run_verb("export", spec, **quiet))
    shape = onnx.load(result["onnx"]).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape][2:] == result["imgsz"] == [64, 96] and result["passed"]


def test_latency_is_measured_at_height_and_width(tiny_checkpoint):
    spec = {"weights": str(tiny_checkpoint()), "imgsz": [64, 96], "repeats": 5, "runtime": ["onnx", "torch"]}
    first, second = dumped(run_verb("latency", spec, **quiet))["results"]
    assert first["imgsz"] == second["imgsz"] == [64, 96]
    assert first["gflops"] == second["gflops"] == get_flops(build(), [64, 96])


def test_a_table_keeps_what_was_measured_at_a_rectangular_size_apart(tmp_path):
    table, parts = LatencyTable(tmp_path / "table.json", 1), {"convolutions": 1.0, "moving": 1.0, "rest": 1.0}
    table.model_parts("digest", (64, 96), lambda: parts)
    again = LatencyTable(tmp_path / "table.json", 1)
    assert again.known_parts("digest", (64, 96)) == parts
    assert again.known_parts("digest", (96, 64)) is again.known_parts("digest", 64) is None
    assert list(json.loads(table.path.read_text())) == ["model digest 64,96"]


def test_the_terminal_takes_height_and_width_and_a_command_repeats_them():
    for verb in ("inspect", "preview", "prune", "latency", "export"):
        saved = ["--save-dir", "x"] if verb in ("prune", "export") else []
        assert build_parser().parse_args([verb, "--weights", "a.pt", "--imgsz", "384,640", *saved]).imgsz == PAIR
        assert "--imgsz 384,640" in command_of(verb, {"weights": "a.pt", "imgsz": PAIR, "save_dir": "x"})
        assert "--imgsz 640" in command_of(verb, {"weights": "a.pt", "imgsz": 640, "save_dir": "x"})
    asked = build_parser().parse_args(["compare", "--weights", "a.pt", "--data", "d.yaml", "--gflops-imgsz", "384,640"])
    assert asked.gflops_imgsz == PAIR


@pytest.mark.parametrize("verb", ["train", "sparsify", "finetune", "val", "compare", "accuracy", "sensitivity"])
def test_where_ultralytics_takes_one_number_one_sentence_says_so(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([verb, "--weights", "a.pt", "--imgsz", "384,640"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert "one number of pixels such as 640: Ultralytics trains and validates on one number, the longer side" in said


@pytest.mark.parametrize("verb", ["val", "accuracy"])
def test_a_job_that_asks_to_validate_at_height_and_width_is_refused_in_a_sentence(verb, tiny_checkpoint, tmp_path):
    spec = {"weights": str(tiny_checkpoint()), "imgsz": PAIR, "data": "coco8.yaml", "save_dir": str(tmp_path)}
    with pytest.raises(WorkbenchError, match="it must be one number of pixels such as 640: Ultralytics trains"):
        run_verb(verb, spec, **quiet)


@pytest.mark.parametrize("written", ["384,640", [384, 640], "384x640"])
def test_a_recipe_takes_height_and_width(written, tmp_path):
    steps = [{"prune": {"prune_ratio": 0.5, "imgsz": written}}, {"export": {"imgsz": written}}]
    recipe = recipe_from_dict({"name": "Wide", "steps": steps})
    assert [step.settings["imgsz"] for step in recipe.steps] == [PAIR, PAIR]
    (tmp_path / "wide.yaml").write_text(recipe_to_yaml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "wide.yaml").steps == recipe.steps

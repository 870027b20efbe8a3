"""The terminal as a person meets it: JSON on standard output, one line and exit code 2 for what they can mend."""

import json
import subprocess
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.cli import main

PREVIEW_KEYS = {
    "params_before",
    "params",
    "gflops_before",
    "gflops",
    "ratio_requested",
    "ratio_achieved",
    "max_ratio",
    "limiting_layer",
    "layers",
}


@pytest.fixture
def engine(warm):
    """Return a function that runs ``python -m engine`` in a process of its own."""
    return partial(warm.run, "-m", "engine")


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0]


def test_the_preview_is_what_pruning_writes_and_what_ultralytics_reports(tiny_checkpoint, tmp_path, engine):
    weights = tiny_checkpoint("yolov8n")
    ask = ("--weights", weights, "--prune-ratio", 0.5, "--imgsz", 320, "--json")
    preview = engine("preview", *ask)
    assert preview.returncode == 0, preview.stderr
    told = json.loads(preview.stdout)
    assert set(told) >= PREVIEW_KEYS
    assert set(told["layers"][0]) >= {"name", "before", "after", "prunable", "reason"}
    pruned = engine("prune", *ask, "--save-dir", tmp_path / "out")
    assert pruned.returncode == 0, pruned.stderr
    model = YOLO(tmp_path / "out" / "pruned.pt").model
    assert told["params"] == json.loads(pruned.stdout)["params"] == get_num_params(model)
    assert told["gflops"] == get_flops(model, 320)
    assert told["ratio_achieved"] <= 0.5 < told["ratio_achieved"] + 0.01


def test_protect_residual_keeps_what_residual_adds_tie_together(tiny_checkpoint, engine):
    weights = tiny_checkpoint("yolov8n")
    free, protected = (
        json.loads(engine("preview", "--weights", weights, "--prune-ratio", 0.4, "--json", *more).stdout)["layers"]
        for more in ((), ("--protect-residual",))
    )
    inner = "model.2.m.0.cv2.bn"  # the second convolution of a bottleneck with a shortcut
    after = [next(row for row in rows if row["name"] == inner) for rows in (free, protected)]
    assert after[0]["after"] < after[0]["before"]
    assert after[1]["after"] == after[1]["before"]


def test_inspect_describes_every_batchnorm_layer(tiny_checkpoint, engine):
    done = engine("inspect", "--weights", tiny_checkpoint("yolo11n"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    norms = [m for m in YOLO("yolo11n.yaml").model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(told["layers"]) == len(norms)
    assert sum(layer["channels"] for layer in told["layers"]) == sum(norm.num_features for norm in norms)
    assert any(layer["reason"] == "attention query/key size" for layer in told["layers"])


def test_text_output_is_for_reading(tiny_checkpoint, engine):
    done = engine("preview", "--weights", tiny_checkpoint("yolov8n"), "--prune-ratio", 0.3)
    assert "parameters 3,157,200 -> " in done.stdout and "model.0.bn" in done.stdout


def test_the_last_line_of_prune_names_the_way_to_train_what_stock_training_refuses(tiny_checkpoint, tmp_path, engine):
    weights, folder = tiny_checkpoint("yolov8n"), tmp_path / "a folder"
    last = engine("prune", "--weights", weights, "--prune-ratio", 0.3, "--save-dir", folder).stdout.splitlines()[-1]
    assert f"python -m engine finetune --weights '{folder / 'pruned.pt'}'" in last and "stock Ultralytics" in last
    whole = engine("prune", "--weights", weights, "--prune-ratio", 0, "--save-dir", folder).stdout.splitlines()[-1]
    assert "stock Ultralytics" not in whole


@pytest.mark.parametrize("ratio", ["1.0", "-0.1", "nan"])
def test_a_ratio_out_of_range_is_refused(ratio, tiny_checkpoint, tmp_path, engine):
    done = engine("prune", "--weights", tiny_checkpoint(), f"--prune-ratio={ratio}", "--save-dir", tmp_path / "out")
    assert_refused(done, "0.95")
    assert not (tmp_path / "out" / "pruned.pt").exists()


def test_a_ratio_that_would_empty_a_layer_is_refused_with_the_largest_possible_one(tiny_checkpoint, tmp_path, engine):
    done = engine(
        *("prune", "--weights", tiny_checkpoint(), "--prune-ratio", 0.95, "--floor", 12),
        *("--save-dir", tmp_path / "out"),
    )
    assert_refused(done, "largest possible ratio", "model.")
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_checkpoints_are_refused(tmp_path, engine):
    wrong = tmp_path / "notes.pt"
    wrong.write_text("not a checkpoint")
    empty = tmp_path / "weights.pt"
    torch.save({"epoch": 3}, empty)
    assert_refused(engine("inspect", "--weights", wrong), "notes.pt", "is not a checkpoint that can be read")
    assert_refused(engine("inspect", "--weights", empty), "holds no model")
    assert_refused(engine("inspect", "--weights", tmp_path / "gone.pt"), "gone.pt")


def test_a_data_set_that_points_nowhere_is_refused_before_anything_is_written(tiny_checkpoint, tmp_path, engine):
    data = tmp_path / "data.yaml"
    data.write_text("path: /nowhere/at/all\ntrain: images/train\nval: images/val\nnames: [a]\n")
    done = engine(
        *("finetune", "--weights", tiny_checkpoint(), "--data", data, "--epochs", 1, "--save-dir", tmp_path / "out")
    )
    assert_refused(done, "/nowhere/at/all")
    assert not (tmp_path / "out").exists()


def test_missing_and_unknown_options_are_refused_on_one_line(tiny_checkpoint, engine):
    assert_refused(engine("preview", "--weights", tiny_checkpoint()), "--prune-ratio")
    assert_refused(engine("polish"), "polish")
    assert_refused(engine("prune", "--weights", tiny_checkpoint(), "--prune-ratio", "half"), "half")


def test_a_folder_that_cannot_be_written_is_refused(tiny_checkpoint, tmp_path, engine):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = engine("prune", "--weights", tiny_checkpoint(), "--prune-ratio", 0.3, "--save-dir", blocked / "out")
    assert_refused(done, str(blocked))


def test_results_go_to_a_new_folder_when_none_is_named(tiny_checkpoint, tmp_path, engine):
    weights = tiny_checkpoint()
    for folder in ("prune", "prune2"):
        done = engine("prune", "--weights", weights, "--prune-ratio", 0.3, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "runs" / folder / "pruned.pt").is_file()


# --- targets, limits and scores of a plan --------------------------------------------------------------------------


@pytest.fixture
def terminal(capsys):
    """Return a function that runs the terminal command in this process, where nothing has to be imported again."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def told(terminal):
    """Return a function that runs the terminal command and returns its JSON."""

    def run(*arguments: object) -> dict:
        done = terminal(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_budgets_are_met_from_below_and_written_as_previewed(tiny_checkpoint, tmp_path, told):
    ask = ("--weights", tiny_checkpoint(), "--max-params", 1_500_000, "--max-gflops", 1.0, "--imgsz", 320)
    preview = told("preview", *ask)
    assert 0.9 < max(preview["params"] / 1_500_000, preview["gflops"] / 1.0) <= 1
    pruned = told("prune", *ask, "--save-dir", tmp_path / "out")
    model = YOLO(tmp_path / "out" / "pruned.pt").model
    assert preview["params"] == pruned["params"] == get_num_params(model)
    assert preview["gflops"] == pruned["gflops"] == get_flops(model, 320)


def test_an_impossible_budget_is_refused_with_the_minimum(tiny_checkpoint, tmp_path, terminal):
    ask = ("prune", "--weights", tiny_checkpoint(), "--save-dir", tmp_path / "out")
    assert_refused(terminal(*ask, "--max-params", 1000), "smallest model", "GFLOPs")
    assert not (tmp_path / "out").exists()


def test_locks_own_ratios_and_rounding_shape_the_layers(tiny_checkpoint, told):
    limits = ("--lock", "model.0.bn", "--lock", "model.1.bn", "--layer-ratio", "model.3.bn=0.5", "--round-to", 8)
    preview = told("preview", "--weights", tiny_checkpoint(), "--prune-ratio", 0.6, *limits)
    layers = {layer["name"]: layer for layer in preview["layers"]}
    for name in ("model.0.bn", "model.1.bn"):
        assert layers[name]["after"] == layers[name]["before"] and "own ratio" in layers[name]["bounds"]
    assert layers["model.3.bn"]["after"] == layers["model.3.bn"]["before"] // 2
    assert all(row["after"] == row["before"] or row["after"] % 8 == 0 for row in preview["layers"])
    assert any("rounding" in row["bounds"] for row in preview["layers"])


def test_criteria_and_scopes_choose_different_channels(tiny_checkpoint, told):
    ask = ("preview", "--weights", tiny_checkpoint(), "--prune-ratio", 0.4)
    variants = [(), ("--criterion", "l1"), ("--criterion", "gamma-next", "--aggregate", "max"), ("--scope", "uniform")]
    variants += [("--criterion", "random", "--seed", seed) for seed in (1, 2)]
    variants += [("--per-layer", "--per-flop"), ("--floor-share", 0.5)]
    widths = [tuple(layer["after"] for layer in told(*ask, *variant)["layers"]) for variant in variants]
    assert len(set(widths)) == len(widths)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("--prune-ratio", "--max-params")),
        (("--prune-ratio", 0.3, "--max-params", 10**6), ("either --prune-ratio",)),
        (("--prune-ratio", 0.3, "--lock", "model.99.bn"), ("model.99.bn",)),
        (("--prune-ratio", 0.3, "--layer-ratio", "model.0.bn"), ("NAME=RATIO",)),
        (("--prune-ratio", 0.3, "--layer-ratio", "model.0.bn=much"), ("model.0.bn=much",)),
        (("--prune-ratio", 0.3, "--layer-ratio", "model.0.bn=1"), ("0.95", "model.0.bn")),
        (("--prune-ratio", 0.3, "--round-to", 0), ("multiple",)),
        (("--prune-ratio", 0.3, "--criterion", "magic"), ("magic",)),
        (("--prune-ratio", 0.3, "--floor-share", 2), ("--floor-share", "from 0 to 1")),
    ],
)
def test_targets_and_limits_that_make_no_sense_are_refused(options, words, tiny_checkpoint, terminal):
    assert_refused(terminal("preview", "--weights", tiny_checkpoint(), *options), *words)


def test_recalibration_needs_a_data_set(tiny_checkpoint, tmp_path, terminal):
    ask = ("prune", "--weights", tiny_checkpoint(), "--prune-ratio", 0.3, "--save-dir", tmp_path / "out")
    assert_refused(terminal(*ask, "--recalibrate", 4), "--data")
    assert not (tmp_path / "out").exists()


def test_recalibration_changes_statistics_alone(tiny_checkpoint, tmp_path, told):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "images" / split / "a.png"), np.full((64, 64, 3), 200, np.uint8))
        (tmp_path / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: [a]\n")
    ask = ("prune", "--weights", tiny_checkpoint(), "--prune-ratio", 0.3)
    told(*ask, "--save-dir", tmp_path / "plain")
    told(*ask, "--save-dir", tmp_path / "again", "--recalibrate", 1, "--data", data)
    plain, again = (YOLO(tmp_path / name / "pruned.pt").model.state_dict() for name in ("plain", "again"))
    changed = {name.rpartition(".")[2] for name in plain if not torch.equal(plain[name], again[name])}
    assert {"running_mean", "running_var"} <= changed <= {"running_mean", "running_var", "num_batches_tracked"}

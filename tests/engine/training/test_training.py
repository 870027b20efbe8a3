"""Real Ultralytics trainers on a tiny drawn set: pruned shapes survive, sparse runs reach zero, errors read well."""

import inspect
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import SegmentationModel
from ultralytics.utils.torch_utils import ModelEMA

from engine.base.errors import StopRequested, TrainingError, WorkbenchError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.demo.dataset import make_demo_dataset
from engine.profile.gammas import summarise_gammas
from engine.pruning.gammas import collect_gammas
from engine.pruning.session import Slimming
from engine.training import TRAINERS
from engine.training.resuming import STATE_NAME
from engine.validation.checks import explained
from engine.verbs import run_verb
from tests.models import randomise, write_checkpoint
from tests.runs import spec, write_dense
from tests.short import short


@pytest.fixture(scope="module", params=["detect", "detect 11"])
def pruned(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return Slimming.open(write_dense(folder / "dense.pt", model=short(request.param))).prune(0.5, folder / "pruned.pt")


def test_fine_tuning_keeps_the_pruned_shape_and_the_result_is_an_ordinary_checkpoint(pruned, data, tmp_path):
    events = []
    result = run_verb("finetune", spec(pruned, data, tmp_path / "run"), events.append)
    before, after = open_checkpoint(pruned), open_checkpoint(result["best"])
    assert after.params == before.params == result["params"]
    shapes = [{name: tensor.shape for name, tensor in c.model.state_dict().items()} for c in (before, after)]
    assert shapes[0] == shapes[1]
    assert any(not torch.equal(a, b) for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True))
    assert [event["epoch"] for event in events if event["kind"] == "epoch"] == [1, 2]
    assert {"mAP50", "mAP50-95"} <= set(result["metrics"])
    script = f"from ultralytics import YOLO; print(sum(p.numel() for p in YOLO({result['best']!r}).model.parameters()))"
    plain = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=_plain_environment(tmp_path)
    )
    assert plain.stdout.split()[-1] == str(before.params), plain.stderr


def _plain_environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(folder)}


def test_targeted_sparse_training_leaves_the_wanted_share_at_zero_in_last_pt(dense, data, tmp_path):
    events = []
    result = run_verb("sparsify", spec(dense, data, tmp_path / "run", prune_ratio=0.4), events.append)
    sparse = open_checkpoint(result["last"])
    assert summarise_gammas(collect_gammas(sparse.model)).zero == pytest.approx(0.4, abs=0.01)
    assert result["artefacts"][0]["path"] == result["last"], "best.pt of a sparse run is the least sparse"
    last = [event for event in events if event["kind"] == "epoch"][-1]
    assert last["gammas"]["free_ratio"] == pytest.approx(0.4, abs=0.01)
    slimming = Slimming.open(result["last"])
    plan = slimming.plan(0.39)
    removed = [g for layer in slimming.graph.layers for g in layer.groups[~plan.keep[layer.groups]].tolist()]
    assert removed and all(slimming.scores[group] == 0 for group in removed), "what was zeroed is what is pruned"


def test_pruning_a_sparse_model_changes_nothing_because_what_is_zero_is_zero_in_the_average_too(
    dense, data, tmp_path, monkeypatch
):
    # As late in a long run: the average still remembers what the channels were before they faded.
    monkeypatch.setattr("ultralytics.engine.trainer.ModelEMA", partial(ModelEMA, decay=0.9, tau=1e-3))
    result = run_verb("sparsify", spec(dense, data, tmp_path / "run", epochs=5, prune_ratio=0.4), lambda event: None)
    slimming = Slimming.open(result["last"])
    sparse = slimming.checkpoint.model
    norms = [sparse.get_submodule(layer.name) for layer in slimming.graph.layers]
    assert all((norm.bias[norm.weight == 0] == 0).all() for norm in norms)
    # Without compensation, which would make up for most of a beta that was forgotten.
    pruned = open_checkpoint(slimming.prune(0.4, tmp_path / "pruned.pt", compensated=False))
    assert pruned.params < 0.8 * slimming.checkpoint.params
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(pruned.model(image)[0], sparse(image)[0], rtol=1e-4, atol=1e-4)


def test_trained_biases_are_not_thrown_back_by_the_warm_up(dense, data, tmp_path):

    def after_the_first_epoch(event):
        if event["kind"] == "epoch":
            raise StopRequested

    wanted = spec(dense, data, tmp_path / "run", epochs=30, lr0=1e-6)
    result = run_verb("finetune", wanted, after_the_first_epoch)
    before, after = (dict(open_checkpoint(path).model.named_parameters()) for path in (dense, result["last"]))
    moved = max(float((after[n] - before[n]).abs().max()) for n in before if n.endswith("bias"))
    assert moved < 1e-3, "at this rate nothing moves, the biases included"


def test_a_penalty_strength_selects_the_proximal_method_and_shrinks_gammas(dense, data, tmp_path):
    result = run_verb("sparsify", spec(dense, data, tmp_path / "run", sr=5.0), lambda event: None)
    assert result["sparsity"]["method"] == "proximal"
    before, after = (summarise_gammas(collect_gammas(open_checkpoint(p).model)) for p in (dense, result["last"]))
    assert after.median < before.median


def test_a_wish_to_stop_ends_the_run_after_the_batch_and_keeps_a_checkpoint(pruned, data, tmp_path):
    def report(event):
        if event["kind"] == "step" and event["epoch"] == 2:
            raise StopRequested

    result = run_verb("finetune", spec(pruned, data, tmp_path / "run", epochs=50), report)
    assert result["stopped"] and result["epochs_done"] in (1, 2), "2 where the step was the last of its epoch"
    assert open_checkpoint(result["last"]).params == result["params"]


def test_an_epoch_that_a_nan_spoilt_is_done_again_and_its_steps_do_not_count_twice(dense, data, tmp_path, monkeypatch):
    """Ultralytics goes back to last.pt; what the sparsifier saw and chose since then must be forgotten with it."""
    plain_step, spoilt = TRAINERS["detect"].optimizer_step, []

    def step(trainer):
        if "nan" in str(trainer.save_dir) and trainer.epoch == 1 and not spoilt:
            spoilt.append(True)
            trainer.model.model[0].conv.weight.grad[0] = float("nan")
        plain_step(trainer)

    def until_the_third_epoch(event):
        if event["kind"] == "epoch" and event["epoch"] == 3:
            raise StopRequested

    monkeypatch.setattr(TRAINERS["detect"], "optimizer_step", step)
    states = {}
    for name in ("clean", "nan"):  # the choice falls into the second epoch of four batches
        wanted = spec(dense, data, tmp_path / name, epochs=15, batch=2, nbs=2, prune_ratio=0.4)
        run_verb("sparsify", wanted, until_the_third_epoch)
        states[name] = torch.load(tmp_path / name / "weights" / STATE_NAME, weights_only=True)["sparsifier"]
    assert spoilt and states["nan"]["steps_seen"] == states["clean"]["steps_seen"] == 6
    assert states["nan"]["scores"].isfinite().all()
    chosen = [state["targets"] for state in states.values()]
    assert (chosen[0] & chosen[1]).sum() > 0.8 * chosen[0].sum() > 0, (
        "half precision and luck of the redone epoch apart"
    )


@pytest.mark.parametrize(
    "words",
    [
        "Loss NaN/Inf detected but no valid last.pt is available for recovery",
        "Training failed: NaN persisted for 4 epochs",
        "Checkpoint runs/last.pt is corrupted with NaN/Inf weights",
    ],
)
def test_a_training_that_ultralytics_gives_up_for_nan_says_what_helps(words):
    source = inspect.getsource(BaseTrainer._handle_nan_recovery)
    assert words.split(" detected")[-1].split("4 epochs")[0].split("last.pt is")[-1] in source, "Ultralytics' own words"
    error = explained(RuntimeError(words), "cpu", 4, 64, Path("data.yaml"))
    assert isinstance(error, TrainingError) and "lower learning rate" in str(error)


def test_training_never_overwrites_the_checkpoint_that_it_starts_from(pruned, data, tmp_path):
    inside = tmp_path / "run" / "weights" / "best.pt"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(pruned.read_bytes())
    with pytest.raises(TrainingError, match="overwrite"):
        run_verb("finetune", spec(inside, data, tmp_path / "run"), lambda event: None)
    assert inside.read_bytes() == pruned.read_bytes()


def test_a_pruned_model_is_not_silently_rebuilt_for_other_classes(pruned, tmp_path):
    source = make_demo_dataset(tmp_path / "set", train=4, val=2, imgsz=64)
    description = yaml.safe_load(source.read_text())
    description["names"] = [*dict(description["names"]).values(), "lighthouse"]
    source.write_text(yaml.safe_dump(description))
    with pytest.raises(TrainingError, match="classes"):
        run_verb("finetune", spec(pruned, str(source), tmp_path / "run"), lambda event: None)
    assert not (tmp_path / "run").exists(), "a refused run leaves nothing behind"


def test_a_data_set_s_own_description_is_never_overwritten(pruned, data):
    before = Path(data).read_text()
    with pytest.raises(WorkbenchError, match="overwritten"):
        run_verb("finetune", spec(pruned, data, Path(data).parent), lambda event: None)
    assert Path(data).read_text() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sr": 0.01, "prune_ratio": 0.5}, "--prune-ratio does nothing"),
        ({"method": "targeted", "sr": 0.01}, "--sr does nothing"),
        ({"schedule": "linear"}, "--schedule does nothing"),
    ],
)
def test_sparse_training_refuses_options_that_its_method_ignores(options, words, pruned, data, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run_verb("sparsify", spec(pruned, data, tmp_path / "run", **options), lambda event: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", [{"device": "banana"}, {"batch": 0}, {"imgsz": 0}])
def test_validation_refuses_what_it_cannot_do_in_one_sentence(change, pruned, data):
    with pytest.raises(WorkbenchError) as refusal:
        run_verb("val", {"weights": str(pruned), "data": data, "imgsz": 64, **change}, lambda event: None)
    assert "\n" not in str(refusal.value)


def test_a_segmentation_model_on_a_box_data_set_is_explained(data, tmp_path):
    torch.manual_seed(0)
    weights = write_checkpoint(randomise(SegmentationModel("yolov8n-seg.yaml", nc=3, verbose=False)), tmp_path / "s.pt")
    with pytest.raises(WorkbenchError, match="cannot use"):
        run_verb("finetune", spec(weights, data, tmp_path / "run", epochs=1), lambda event: None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "nowhere.yaml"}, "nowhere.yaml"),
        ({"device": "7"}, "not available"),
        ({"device": "banana"}, "not available"),
        ({"device": "0,1"}, "not available on this machine"),
        ({"optimizer": "foo"}, "optimizer"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"lr0": 0.0}, "--lr0 is"),
        ({"lr0": -1.0}, "--lr0 is"),
        ({"weights": "nothing.pt"}, "nothing.pt"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(change, words, pruned, data, tmp_path):
    with pytest.raises(WorkbenchError, match=words) as refusal:
        run_verb("finetune", {**spec(pruned, data, tmp_path / "run"), **change}, lambda event: None)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run" / "weights" / "last.pt").exists()


def test_the_terminal_prints_json_alone_on_standard_output(pruned, data, tmp_path, warm):
    asked = "--epochs 1 --imgsz 64 --batch 4 --device cpu --json --save-dir".split()
    done = warm.run("-m", "engine", "finetune", "--weights", pruned, "--data", data, *asked, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert Path(result["best"]).is_file() and Path(result["last"]).is_file()

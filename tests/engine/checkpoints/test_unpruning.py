"""Stock training must not un-prune a model in silence: it stops with a sentence, and there is a way to train it."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import load_checkpoint, parse_model
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import TrainingError
from engine.checkpoints.checkpoint import open_checkpoint, record_made, save_checkpoint
from engine.checkpoints.unpruning import OPENING, is_marked, mark_if_narrower, unpruning_sentence
from engine.pruning.session import Slimming
from engine.pruning.surgery import prune_model
from engine.training import TRAINERS
from engine.verbs import run_verb
from tests import tasks
from tests.models import build, graph_of, random_keep, randomise, write_checkpoint
from tests.runs import spec, write_dense
from tests.shapes import draw_shapes, narrow, write_narrow

QUICK = {"epochs": 1, "imgsz": 64, "batch": 4, "nbs": 4, "device": "cpu", "workers": 0, "plots": False}


def unmarked(path: Path, target: Path) -> Path:
    """Write a pruned checkpoint as version 0.2 wrote it, and return its path."""
    content = torch.load(path, weights_only=False)
    content["model"].yaml["backbone"][0][2] = "Conv"
    torch.save(content, target)
    return target


STOCK = """
import copy, importlib.util, json, sys
sys.path = [entry for entry in sys.path if entry]
assert importlib.util.find_spec("engine") is None, "the project is here"
import numpy as np
from ultralytics import YOLO
from ultralytics.cfg import entrypoint
from ultralytics.utils import SAFE_LOAD
from ultralytics.utils.torch_utils import get_num_params
quick = dict(data=sys.argv[1], epochs=1, imgsz=64, batch=4, device="cpu", workers=0, plots=False)

def error_of(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, *error.args]

model = YOLO("pruned.pt")
params = get_num_params(model.model)
drawn = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
found = len(model.predict(drawn, imgsz=64, device="cpu", verbose=False, conf=0.0))
measured = model.val(data=sys.argv[1], imgsz=64, device="cpu", workers=0, plots=False).results_dict
layers = model.info()[0]
copied = copy.deepcopy(model.model)
model.save("saved.pt")
model.fuse()
exported = YOLO("saved.pt").export(format="onnx", imgsz=64, device="cpu", simplify=False)
in_python = error_of(lambda: YOLO("saved.pt").train(**quick))
from_nothing = error_of(lambda: YOLO("saved.pt").train(pretrained=False, **quick))
print("SAYS " + json.dumps({
    "safe": SAFE_LOAD, "params": params, "copied": get_num_params(copied), "found": found, "layers": layers,
    "measured": len(measured), "exported": exported, "in_python": in_python, "from_nothing": from_nothing,
}), flush=True)
entrypoint(" ".join(["yolo detect train model=pruned.pt", *(f"{name}={value}" for name, value in quick.items())]))
"""


@pytest.mark.parametrize("safe", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_stock_training_stops_with_the_sentence_and_everything_else_of_stock_goes_on(pruned, data, tmp_path, safe):
    (tmp_path / "pruned.pt").write_bytes(pruned.read_bytes())
    ours = ("PYTHON", "YOLO_", "ULTRALYTICS_", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    environment |= {"ULTRALYTICS_SAFE_LOAD": safe, "HOME": str(tmp_path)}
    command = [sys.executable, "-I", "-c", STOCK, data]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "SAYS " in done.stdout, done.stderr[-2000:]
    said = json.loads(done.stdout.split("SAYS ")[1].splitlines()[0])
    params, sentence = open_checkpoint(pruned).params, unpruning_sentence("detect")
    assert said["safe"] == (safe == "1") and said["params"] == said["copied"] == params
    assert said["found"] == 1 and said["layers"] > 50 and said["measured"] and (tmp_path / said["exported"]).is_file()
    assert said["in_python"] == said["from_nothing"] == ["KeyError", sentence]
    assert done.returncode and done.stderr.strip().endswith(f"KeyError: {sentence!r}"), "the last line of `yolo train`"
    assert not list(tmp_path.rglob("runs/**/*.pt")), "nothing was trained"


def test_the_sentence_names_the_way_on_the_terminal_and_in_python():
    sentence = unpruning_sentence("pose")
    assert "python -m engine finetune" in sentence and 'trainer=engine.training.TRAINERS["pose"]' in sentence
    assert "\n" not in sentence and sentence.startswith(OPENING)


def test_only_what_was_pruned_carries_the_sentence(tmp_path, pruned):
    slimming = Slimming.open(write_dense(tmp_path / "dense.pt"))
    assert not is_marked(slimming.checkpoint.model), "nor did pruning a copy mark the model itself"
    assert not is_marked(open_checkpoint(slimming.prune(0.0, tmp_path / "whole.pt")).model)
    assert is_marked(open_checkpoint(pruned).model)
    again = Slimming.open(pruned).prune(0.3, tmp_path / "again.pt")
    assert is_marked(open_checkpoint(again).model) and open_checkpoint(again).params < open_checkpoint(pruned).params


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolov10n", "yolov8n-cls", "yolo11n-seg"])
def test_a_model_pruned_by_an_older_version_is_told_from_a_whole_one(name):
    whole = build(name)
    mark_if_narrower(whole)
    assert not is_marked(whole)
    graph = graph_of(name)
    older = prune_model(whole, graph, random_keep(graph, 0.2))
    older.yaml = copy.deepcopy(whole.yaml)
    mark_if_narrower(older)
    assert is_marked(older) and not is_marked(whole)


@pytest.mark.parametrize("name", ["yolov8s-world", "yoloe-11s"])
def test_models_that_stock_trains_from_a_named_file_stop_with_the_sentence_too(name, tmp_path):
    graph = graph_of(name)
    smaller = prune_model(build(name), graph, random_keep(graph, 0.3))
    for description in (smaller.yaml, smaller.yaml["yaml_file"]):
        with pytest.raises((KeyError, FileNotFoundError), match=OPENING):
            type(smaller)(description, verbose=False)
    assert YOLO(write_checkpoint(smaller, tmp_path / "open.pt")).info()[1] == get_num_params(smaller)


def carried(*paths: str | Path) -> bool:
    return all(is_marked(load_checkpoint(path)[0]) for path in paths)


def test_a_fine_tuned_and_a_distilled_model_still_carry_it(pruned, data, tmp_path):
    again = Slimming.open(pruned).prune(0.3, tmp_path / "again.pt")  # a pruned teacher, a pruned student
    tuned = run_verb("finetune", spec(again, data, tmp_path / "run", epochs=1, teacher=str(pruned)), lambda _: None)
    assert tuned["params"] == open_checkpoint(again).params
    assert carried(tuned["best"], tuned["last"])


def test_a_sparse_trained_pruned_model_still_carries_it(pruned, data, tmp_path):
    sparse = run_verb("sparsify", spec(pruned, data, tmp_path / "run", epochs=1, sr=0.1), lambda _: None)
    assert carried(sparse["best"], sparse["last"])


def test_a_file_of_version_0_2_works_on_and_gets_the_sentence_when_it_is_written_again(pruned, data, tmp_path):
    older = unmarked(pruned, tmp_path / "older.pt")
    assert not carried(older)
    assert carried(Slimming.open(older).prune(0.0, tmp_path / "same.pt"))
    source = open_checkpoint(older)
    assert carried(save_checkpoint(source.model, tmp_path / "saved.pt", source=source, made={}))
    tuned = run_verb("finetune", spec(older, data, tmp_path / "run", epochs=1), lambda _: None)
    assert tuned["params"] == source.params and carried(tuned["best"], tuned["last"])
    record_made(older, {"verb": "finetuned"})
    assert carried(older)


def dense_and_data(task: str, folder: Path) -> tuple[Path, Path]:
    """Return a checkpoint and a data set of a task, of the smallest kind that trains."""
    if task in tasks.NAMES:
        return tasks.write_model(task, folder / "dense.pt"), tasks.write_data(task, folder / "set")
    return write_narrow(randomise(narrow(task)), folder / "dense.pt"), draw_shapes(folder / "set", task)


@pytest.mark.parametrize("task", TRAINERS)
def test_python_trains_a_pruned_model_of_every_task_and_goes_on_with_it(task, tmp_path):
    dense, described = dense_and_data(task, tmp_path)
    smaller = Slimming.open(dense).prune(0.4, tmp_path / "pruned.pt")
    params = open_checkpoint(smaller).params
    where = {"project": str(tmp_path / "runs"), "name": "python", "exist_ok": True}

    def stop_in_the_second_epoch(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    model = YOLO(smaller)
    model.add_callback("on_train_batch_end", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        model.train(trainer=TRAINERS[task], data=str(described), **QUICK | {"epochs": 2}, **where)
    last = tmp_path / "runs" / "python" / "weights" / "last.pt"
    model = YOLO(last)
    model.train(trainer=TRAINERS[task], resume=True, project=str(tmp_path / "elsewhere"), name="other")
    assert get_num_params(model.model) == params
    assert [int(row.split(",")[0]) for row in (last.parents[1] / "results.csv").read_text().splitlines()[1:]] == [1, 2]
    for path in (last, last.with_name("best.pt")):
        assert open_checkpoint(path).params == params and carried(path)
    assert not (tmp_path / "elsewhere").exists() and not list(last.parent.glob(".*"))
    assert not (last.parents[1] / "run.json").exists(), "a record of half a run would mislead --resume"


def test_python_can_not_un_prune_by_pretrained_weights(pruned, data, tmp_path):
    dense = write_dense(tmp_path / "dense.pt")
    for pretrained in (str(dense), False):
        with pytest.raises(TrainingError, match="from its own weights") as refusal:
            YOLO(pruned).train(trainer=TRAINERS["detect"], data=data, pretrained=pretrained, project=tmp_path, **QUICK)
        assert "\n" not in str(refusal.value)


def test_a_description_that_cannot_be_built_is_no_sign_of_pruning():
    whole = build("yolov8n")
    whole.yaml["backbone"][0][2] = "LayerOfAnotherVersion"
    mark_if_narrower(whole)
    assert not is_marked(whole)
    assert not is_marked(nn.Linear(2, 2))
    with pytest.raises(KeyError):
        parse_model(whole.yaml, 3, verbose=False)

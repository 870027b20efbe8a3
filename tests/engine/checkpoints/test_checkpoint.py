"""Checkpoints: what comes in is opened without running it, what goes out is an ordinary Ultralytics checkpoint."""

import io
import json
import os
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torchvision
import ultralytics
from torch import nn
from ultralytics.nn.modules.block import TorchVision
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import CheckpointError, WorkbenchError
from engine.base.files import file_digest
from engine.checkpoints.checkpoint import MADE_KEY, open_checkpoint, save_checkpoint
from engine.checkpoints.restricted import _torchvision_layer
from engine.pruning.session import Slimming
from engine.verbs import run_verb
from tests.models import (
    ROOT,
    assert_pruned_equals_masked,
    assert_same_outputs,
    build,
    image,
    random_keep,
    randomise,
    run,
    write_checkpoint,
)


def refusal(path: Path) -> str:
    """Return the one clear sentence with which a file is refused."""
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(path)
    sentence = str(refused.value)
    assert sentence and "\n" not in sentence and "Traceback" not in sentence and len(sentence) < 400
    assert path.name in sentence
    return sentence


def test_an_opened_checkpoint_tells_what_it_is(tiny_checkpoint):
    path = tiny_checkpoint("yolov8n")
    checkpoint = open_checkpoint(path)
    assert (checkpoint.task, checkpoint.imgsz, checkpoint.half) == ("detect", 320, True)
    assert checkpoint.digest == file_digest(path)
    assert checkpoint.params == get_num_params(build("yolov8n"))
    assert checkpoint.names[0] and len(checkpoint.names) == 80
    assert checkpoint.made == {}
    assert not checkpoint.model.training
    assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {torch.float32}


def test_the_averaged_weights_are_preferred_where_a_file_holds_both(tmp_path):
    averaged = build("yolov8n").half()
    nn.init.constant_(next(averaged.parameters()), 0.25)
    path = write_checkpoint(build("yolov8n"), tmp_path / "last.pt", ema=averaged)
    assert float(next(open_checkpoint(path).model.parameters()).detach().flatten()[0]) == 0.25


@pytest.mark.parametrize("size", [(320, 640), [640, 320]])
def test_a_rectangular_training_size_counts_by_its_larger_side(tiny_checkpoint, size):
    assert open_checkpoint(tiny_checkpoint("yolov8n", train_args={"imgsz": size})).imgsz == 640


@pytest.mark.parametrize("arguments", [None, {}, {"imgsz": None}, {"imgsz": 0}, {"imgsz": "large"}])
def test_a_checkpoint_that_does_not_say_its_size_is_taken_for_640(tiny_checkpoint, arguments):
    assert open_checkpoint(tiny_checkpoint("yolov8n", train_args=arguments)).imgsz == 640


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_a_saved_checkpoint_opens_as_it_was_saved(tiny_checkpoint, tmp_path, name):
    source = open_checkpoint(tiny_checkpoint(name))
    made = {"verb": "prune", "prune_ratio": 0.5}
    written = save_checkpoint(source.model, tmp_path / "deep" / "saved.pt", source=source, made=made)
    again = open_checkpoint(written)
    assert again.made == made and again.names == source.names and again.half
    assert again.content["train_args"] == source.content["train_args"]
    assert "best_fitness" not in again.content
    inputs = image(source.model, 64)
    assert_same_outputs(run(again.model, inputs), run(source.model, inputs), tolerance=0)
    assert [path.name for path in written.parent.iterdir()] == ["saved.pt"]


def test_saving_leaves_the_model_and_an_unhalved_source_as_they_were(tmp_path):
    model = build("yolov8n").train()
    path = tmp_path / "whole.pt"
    torch.save({"model": build("yolov8n"), "train_args": {}}, path)
    source = open_checkpoint(path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    written = save_checkpoint(model, tmp_path / "saved.pt", source=source, made={})
    assert model.training and any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not open_checkpoint(written).half


def test_a_pruned_file_holds_what_the_preview_promised(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint("yolo11n"))
    preview = slimming.preview(0.5, imgsz=320)
    written = slimming.prune(0.5, tmp_path / "pruned.pt")
    pruned = open_checkpoint(written)
    assert pruned.params == preview.params == Slimming.open(written).preview(0, imgsz=320).params
    assert pruned.made["prune_ratio"] == 0.5 and pruned.made["parent"] == slimming.checkpoint.digest
    assert written.stat().st_size < 0.6 * slimming.checkpoint.path.stat().st_size


STRANGER = """
import importlib.util, json, sys
sys.path = [entry for entry in sys.path if entry]
assert importlib.util.find_spec("engine") is None, "the project is here"
import numpy as np, onnx, ultralytics
from ultralytics import YOLO
from ultralytics.utils.torch_utils import get_flops, get_num_params
model = YOLO("pruned.pt")
size = get_num_params(model.model), get_flops(model.model, 320)
drawn = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
results = model.predict(drawn, imgsz=64, device="cpu", verbose=False, conf=0.0)
exported = YOLO("pruned.pt").export(format="onnx", imgsz=64, device="cpu", simplify=False)
onnx.checker.check_model(onnx.load(exported))
print("SAYS " + json.dumps({
    "size": size, "results": len(results), "safe": ultralytics.utils.SAFE_LOAD,
    "engine": sorted(name for name in sys.modules if name.split(".")[0] in ("engine", "tests", "app")),
}))
"""


@pytest.mark.parametrize("name", ["yolov8n", pytest.param("yolo11n", marks=pytest.mark.slow)])
@pytest.mark.parametrize("safe", ["1", pytest.param("0", marks=pytest.mark.slow)])
def test_a_pruned_checkpoint_works_where_this_project_is_unknown(tiny_checkpoint, tmp_path, name, safe):
    slimming = Slimming.open(tiny_checkpoint(name))
    preview = slimming.preview(0.5, imgsz=320)
    away = tmp_path / "away"
    slimming.prune(0.5, away / "pruned.pt")
    ours = ("PYTHON", "YOLO_", "ULTRALYTICS_", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    environment |= {"ULTRALYTICS_SAFE_LOAD": safe, "HOME": str(tmp_path)}
    command = [sys.executable, "-I", "-c", STRANGER]
    done = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.split("SAYS ")[1])
    assert said["size"] == [preview.params, preview.gflops]
    assert (said["results"], said["safe"], said["engine"]) == (1, safe == "1", [])


class Payload:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("as_zip", [True, False], ids=["archive", "old format"])
@pytest.mark.parametrize("key", ["model", "ema", "train_args"])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, key, as_zip):
    traces = tmp_path / "it-ran"
    content = {"model": build("yolov8n"), key: Payload(f"touch {traces}")}
    torch.save(content, tmp_path / "hostile.pt", _use_new_zipfile_serialization=as_zip)
    sentence = refusal(tmp_path / "hostile.pt")
    assert not as_zip or "posix.system" in sentence or "nt.system" in sentence
    assert not traces.exists()


def test_code_in_a_file_is_called_dangerous_even_beside_a_class_of_a_fork(tmp_path):
    content = {"model": Stranger(), "train_args": Payload("true"), "ema": build("yolov8n")}
    torch.save(content, tmp_path / "hostile.pt")
    assert "can take over this computer" in refusal(tmp_path / "hostile.pt")


@pytest.mark.parametrize("module", ["ultralytics.nn.modules.block", "ultralytics.nn.extra_modules.attention"])
def test_a_class_of_a_fork_is_said_to_be_one(tmp_path, monkeypatch, module):
    """The class is there while the file is written, as it is in the fork, and not when the file is opened."""
    forked = type("BiFPNAttention", (nn.Module,), {"__module__": module})
    with monkeypatch.context() as fork:
        if module not in sys.modules:
            fork.setitem(sys.modules, module, types.ModuleType(module))
        fork.setattr(sys.modules[module], "BiFPNAttention", forked, raising=False)
        torch.save({"model": forked()}, tmp_path / "forked.pt")
    sentence = refusal(tmp_path / "forked.pt")
    assert f"{module}" in sentence and "fork" in sentence and ultralytics.__version__ in sentence
    assert "could run code" not in sentence, "that would be no reason"


@pytest.mark.parametrize("module", ["__main__", "models.yolo"])
def test_a_class_of_a_script_or_of_the_older_repositories_is_named(tmp_path, monkeypatch, module):
    own = type("OwnHead", (nn.Module,), {"__module__": module})
    with monkeypatch.context() as there:
        for name in ("models", "models.yolo") if module == "models.yolo" else ():
            there.setitem(sys.modules, name, types.ModuleType(name))
        there.setattr(sys.modules[module], "OwnHead", own, raising=False)
        torch.save({"model": own()}, tmp_path / "own.pt")
    words = {"__main__": "the script that saved it", "models.yolo": "yolov5 or yolov7"}[module]
    sentence = refusal(tmp_path / "own.pt")
    assert "OwnHead" in sentence and words in sentence


def torchvision_classifier(name: str, channels: int, truncated: int = 2) -> nn.Module:
    layers = [[-1, 1, "TorchVision", [channels, name, None, True, truncated]]]
    description = {"nc": 3, "backbone": layers, "head": [[-1, 1, "Classify", ["nc"]]]}
    return randomise(ClassificationModel(description, nc=3, verbose=False)).eval()


OPENS = """
import os, sys
from ultralytics import YOLO
model = YOLO("pruned.pt")
found = model.predict(__import__("numpy").zeros((64, 64, 3), "uint8"), imgsz=64, device="cpu", verbose=False)
print("SAYS", sum(p.numel() for p in model.model.parameters()), len(found))
"""


def test_stock_torchvision_layers_are_opened_pruned_and_opened_by_stock_ultralytics(tmp_path):
    for name, channels in (("resnet18", 512), ("mobilenet_v3_small", 576)):
        written = {"train_args": {"imgsz": 64, "task": "classify"}}
        path = write_checkpoint(torchvision_classifier(name, channels), tmp_path / f"{name}.pt", **written)
        slimming = Slimming.open(path)
        keep = random_keep(slimming.graph, 0.3)
        assert_pruned_equals_masked(slimming.checkpoint.model, slimming.graph, keep, torch.rand(1, 3, 64, 64))
    told = []
    wanted = {"weights": str(tmp_path / "resnet18.pt"), "prune_ratio": 0.3, "save_dir": str(tmp_path)}
    done = run_verb("prune", wanted, told.append)
    assert any("ULTRALYTICS_SAFE_LOAD=1" in event.get("text", "") for event in told)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ULTRALYTICS_"))}
    environment |= {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    command = [sys.executable, "-I", "-c", OPENS]
    opened = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr[-2000:]
    assert opened.stdout.split("SAYS")[1].split() == [str(done["params"]), "1"]
    environment["ULTRALYTICS_SAFE_LOAD"] = "1"
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode and "outside the supported" in refused.stderr, "as told above"


def test_only_layers_of_torchvision_are_allowed_and_none_of_its_functions():
    assert _torchvision_layer("torchvision.models.resnet.BasicBlock")
    for name in (
        "torchvision.models.resnet.resnet18",  # would download weights
        "torchvision.models.feature_extraction.DualGraphModule",  # compiles what it is given
        "torchvision.models.resnet.NoSuchBlock",
        "torchvision.io.read_file",
    ):
        assert _torchvision_layer(name) is None


class Call:
    """A pickle that calls a class with arguments, as no saved model does."""

    def __init__(self, called: type, *arguments: object) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


@pytest.mark.parametrize("as_zip", [True, False], ids=["archive", "old format"])
@pytest.mark.parametrize(
    ("called", "arguments"),
    [
        (torchvision.models.resnet.BasicBlock, (64, 64)),
        (torchvision.models.squeezenet.SqueezeNet, ("1_0", 1000)),
        (TorchVision, ("resnet18", "DEFAULT")),  # would download weights
        (ClassificationModel, ("yolov8n-cls.yaml",)),
        (nn.Linear, (10**6, 10**6)),  # would take 4 TB
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_pickle_that_calls_a_layer_with_arguments_is_refused_and_nothing_is_built(
    tmp_path, monkeypatch, called, arguments, as_zip
):
    path = tmp_path / "hostile.pt"
    open_checkpoint(write_checkpoint(torchvision_classifier("resnet18", 512), tmp_path / "first.pt"))  # allows classes
    content = {"model": build("yolov8n"), "train_args": [Call(called, *arguments)]}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    built = []
    monkeypatch.setattr(called, "__init__", lambda *given: built.append(given))
    sentence = refusal(path)
    assert called.__name__ in sentence and "call" in sentence
    assert not built


def test_threads_that_open_checkpoints_of_different_classes_do_not_take_them_from_each_other(tmp_path):
    names = ("resnet18", "squeezenet1_0", "shufflenet_v2_x0_5", "mnasnet0_5")
    models = {name: nn.Sequential(TorchVision(name, None)) for name in names}
    for name, model in models.items():
        torch.save({"model": model}, tmp_path / f"{name}.pt")
    torch.serialization.clear_safe_globals()
    with ThreadPoolExecutor(4) as pool:
        sentences = list(pool.map(refusal, [tmp_path / f"{name}.pt" for name in names] * 4))
    assert all("holds a Sequential" in sentence for sentence in sentences), "opened, and no Ultralytics model"


def test_the_old_file_format_is_opened_or_refused_without_blaming_ultralytics(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"model": build("yolov8n")}, path, _use_new_zipfile_serialization=False)
    try:
        open_checkpoint(path)
    except CheckpointError as error:
        assert "\n" not in str(error) and "ultralytics.nn" not in str(error)


class Stranger(nn.Module):
    """A model class of another project."""


def test_a_class_of_another_project_is_refused_by_name(tmp_path):
    torch.save({"model": Stranger()}, tmp_path / "foreign.pt")
    assert "Stranger" in refusal(tmp_path / "foreign.pt")


def _truncated() -> bytes:
    stream = io.BytesIO()
    torch.save({"model": build("yolov8n")}, stream)
    return stream.getvalue()[: len(stream.getvalue()) // 2]


def _zip_of_text() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("read.me", "hello")
    return stream.getvalue()


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _torchscript() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)), stream)
    return stream.getvalue()


NOT_CHECKPOINTS = {
    "an empty file": lambda: b"",
    "one byte": lambda: b"\x80",
    "text": lambda: b"path: ../data\nnames: [a, b]\n" * 20,
    "a picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(500),
    "an archive of text": _zip_of_text,
    "half an archive": _truncated,
    "TorchScript": _torchscript,
    "a tensor": lambda: _saved(torch.ones(3)),
    "a list": lambda: _saved([1, 2]),
    "nothing": lambda: _saved(None),
    "a state dict": lambda: _saved(build("yolov8n").state_dict()),
    "an empty dict": lambda: _saved({}),
    "a dict without a model": lambda: _saved({"epoch": 3, "optimizer": None}),
    "keys over several lines": lambda: _saved({"a\nb": 1, 7: 2}),
    "a model that is None": lambda: _saved({"model": None, "ema": None}),
    "a state dict as model": lambda: _saved({"model": build("yolov8n").state_dict()}),
    "a tensor as model": lambda: _saved({"model": torch.ones(3), "ema": torch.ones(3)}),
    "an ordered dict as averaged model": lambda: _saved({"ema": OrderedDict(a=torch.ones(2))}),
    "text as model": lambda: _saved({"model": "yolov8n"}),
    "a model with nothing around it": lambda: _saved(build("yolov8n")),
    "a single convolution": lambda: _saved({"model": nn.Conv2d(3, 4, 1)}),
    "an empty network": lambda: _saved({"model": nn.Sequential()}),
    "a network that Ultralytics did not make": lambda: _saved(
        {"model": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))}
    ),
    "a norm without parameters": lambda: _saved({"model": nn.Sequential(nn.BatchNorm2d(4, affine=False))}),
    "a fused model": lambda: _saved({"model": build("yolov8n").fuse(verbose=False)}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", NOT_CHECKPOINTS)
def test_a_file_that_is_no_checkpoint_is_refused_in_a_sentence(tmp_path, what):
    path = tmp_path / "file.pt"
    path.write_bytes(NOT_CHECKPOINTS[what]())
    refusal(path)


@pytest.mark.parametrize("names", [["car", "bus"], {0: "car", "1": "bus"}, {"car": 0}, None, [], {0: None}])
def test_class_names_of_any_form_are_read_or_refused(tmp_path, names):
    model = build("yolov8n")
    model.names = names
    path = write_checkpoint(model, tmp_path / "named.pt")
    try:
        found = open_checkpoint(path).names
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(key, int) and isinstance(value, str) for key, value in found.items())


def test_a_model_whose_training_diverged_is_refused(tmp_path):
    model = build("yolov8n")
    next(model.parameters()).data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not numbers"):
        open_checkpoint(write_checkpoint(model, tmp_path / "nan.pt"))


@pytest.mark.parametrize("name", ["weights.onnx", "weights", "weights.zip", "weights.pt.txt"])
def test_a_file_with_another_suffix_is_refused(tmp_path, tiny_checkpoint, name):
    (tmp_path / name).write_bytes(tiny_checkpoint().read_bytes())
    assert ".pt" in refusal(tmp_path / name)


def test_a_suffix_in_capitals_is_accepted(tmp_path, tiny_checkpoint):
    upper = tmp_path / "UPPER.PT"
    upper.write_bytes(tiny_checkpoint().read_bytes())
    assert open_checkpoint(upper).task == "detect"


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no file" in refusal(tmp_path / "missing.pt")
    (tmp_path / "folder.pt").mkdir()
    refusal(tmp_path / "folder.pt")
    assert not (ROOT / "missing.pt").exists()


def test_nothing_half_written_stays_behind_when_saving_fails(tmp_path, tiny_checkpoint):
    source = open_checkpoint(tiny_checkpoint())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkbenchError) as refused:
        save_checkpoint(source.model, tmp_path / "file" / "pruned.pt", source=source, made={})
    assert "\n" not in str(refused.value)
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "pruned.pt"
    target.write_bytes(b"what was there")
    with pytest.raises(Exception, match=r"pickle|local"):
        save_checkpoint(source.model, target, source=source, made={"oops": lambda: None})
    assert target.read_bytes() == b"what was there" and len(list(target.parent.iterdir())) == 1
    assert MADE_KEY not in source.content

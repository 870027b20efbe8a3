"""A data set that does not fit a model: what is said, what training does about it, and what is refused."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, PoseModel

from engine.base.errors import DatasetError, TrainingError, WorkbenchError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.cli import main
from engine.datasets.facts import is_pruned, move_classes
from engine.datasets.fit import (
    FITS,
    REBUILT,
    REFUSED,
    RENAMED,
    DataFacts,
    fit_for_measuring,
    fit_for_training,
    moved_classes,
)
from engine.profile.facts import ModelFacts
from engine.pruning.session import Slimming
from engine.pruning.solver import SolverSettings
from engine.recipes import recipe_from_dict
from engine.verbs import run_verb
from engine.verbs.recipe import run_recipe
from engine.workspace.file_facts import facts_of
from engine.workspace.store import Store
from tests.models import build, randomise, write_checkpoint
from tests.runs import TINY
from tests.short import short

BOATS, CELLS = ("dinghy", "freighter", "buoy"), ("Platelets", "RBC", "WBC")
ABC = ("a", "b", "c")
ONCE = {**TINY, "epochs": 1}
PERSON = "0 0.5 0.5 0.6 0.6 0.2 0.2 2 0.7 0.2 2 0.2 0.7 2 0.7 0.7 2\n"


def silent(event) -> None:
    pass


def statuses(events) -> str:
    return "\n".join(event["text"] for event in events if event["kind"] == "status")


def write_set(folder: Path, names=ABC, *, channels: int = 3, label=None, more: dict | None = None) -> str:
    """Write four images a split, 64 px, one label each, and return the description."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 255, (64, 64) if channels == 1 else (64, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"images/{split}/{number}.png"), pixels)
            text = label or f"{number % len(names)} 0.5 0.5 0.4 0.4\n"
            (folder / f"labels/{split}/{number}.txt").write_text(text)
    description = {"path": str(folder), "train": "images/train", "val": "images/val", "names": list(names)}
    description |= ({"channels": channels} if channels != 3 else {}) | (more or {})
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(description))
    return str(path)


def write_model(path: Path, names=ABC, **more) -> Path:
    torch.manual_seed(0)
    model = randomise(DetectionModel(short("detect"), nc=len(names), verbose=False, **more))
    model.names = dict(enumerate(names))
    return write_checkpoint(model, path)


@pytest.fixture(scope="module")
def rgb(tmp_path_factory) -> Path:
    """A model of three classes for colour images."""
    return write_model(tmp_path_factory.mktemp("rgb") / "rgb.pt")


@pytest.fixture(scope="module")
def grey_set(tmp_path_factory) -> str:
    return write_set(tmp_path_factory.mktemp("grey"), channels=1)


@pytest.fixture(scope="module")
def pose(tmp_path_factory) -> Path:
    """A model of one class with 17 keypoints."""
    torch.manual_seed(0)
    model = randomise(PoseModel(short("pose"), nc=1, verbose=False))
    model.names = {0: "person"}
    return write_checkpoint(model, tmp_path_factory.mktemp("pose") / "pose.pt")


@pytest.fixture(scope="module")
def four_points(tmp_path_factory) -> str:
    more = {"kpt_shape": [4, 3], "flip_idx": [1, 0, 3, 2]}
    return write_set(tmp_path_factory.mktemp("points"), ("person",), label=PERSON, more=more)


@pytest.fixture(scope="module")
def pairs(rgb, grey_set, pose, four_points) -> dict[str, tuple[Path, str]]:
    return {"channels": (rgb, grey_set), "keypoints": (pose, four_points)}


@pytest.fixture(scope="module")
def pruned(pairs, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pruned")
    return {kind: Slimming.open(model).prune(0.3, folder / f"{kind}.pt") for kind, (model, _) in pairs.items()}


# What is said


def test_a_data_set_that_fits_asks_nothing_and_says_nothing():
    for fit in (fit_for_training, fit_for_measuring):
        found = fit(ModelFacts("m.pt", BOATS), DataFacts(BOATS))
        assert (found.verdict, found.sentence, found.asks) == (FITS, "", False)


def test_another_number_of_classes_means_a_head_built_anew_and_both_lists_are_told():
    found = fit_for_training(ModelFacts("m.pt", BOATS), DataFacts(("a", "b", "buoy", "d", "e")))
    assert found.verdict == REBUILT and found.asks
    assert "knows 3 classes (dinghy, freighter, buoy)" in found.sentence
    assert "describes 5 classes (a, b, buoy and 2 more)" in found.sentence
    assert "Its head will be built anew" in found.sentence and "what it knows of buoy is kept" in found.sentence
    assert (found.model_names, found.data_names) == (BOATS, ("a", "b", "buoy", "d", "e"))
    refused = fit_for_measuring(ModelFacts("m.pt", BOATS), DataFacts(("a", "b")))
    assert refused.verdict == REFUSED and "knows 3 classes" in refused.sentence


def test_as_many_classes_of_other_names_are_asked_about_and_told_where_they_are_measured():
    model, data = ModelFacts("m.pt", BOATS), DataFacts(CELLS)
    trained, measured = fit_for_training(model, data), fit_for_measuring(model, data)
    assert trained.verdict == measured.verdict == RENAMED and trained.asks
    for found in (trained, measured):
        assert "other classes (dinghy, freighter, buoy) than the data set describes (Platelets, RBC, WBC)" in (
            found.sentence
        )
    assert "has to learn the new ones" in trained.sentence and "count by their number" in measured.sentence


def test_the_same_classes_in_another_order_are_put_in_order_by_training():
    model, data = ModelFacts("m.pt", BOATS), DataFacts(("buoy", "Dinghy ", "freighter"))
    assert moved_classes(BOATS, data.names) == {0: 2, 1: 0, 2: 1}
    assert "put into the data set's order" in fit_for_training(model, data).sentence
    assert "in another order" in fit_for_measuring(model, data).sentence


@pytest.mark.parametrize("names", [("0", "1", "2"), ("class_0", "class_1", "class_2"), ("DINGHY", "freighter", "Buoy")])
def test_made_up_names_and_other_cases_are_no_other_classes(names):
    assert fit_for_training(ModelFacts("m.pt", BOATS), DataFacts(names)).verdict == FITS


def test_a_pruned_model_is_refused_where_a_part_would_be_built_anew_and_only_there():
    model = ModelFacts("p.pt", BOATS, pruned=True)
    assert fit_for_training(model, DataFacts(CELLS)).verdict == RENAMED
    for data in (DataFacts(("a",)), DataFacts(BOATS, channels=1)):
        found = fit_for_training(model, data)
        assert found.verdict == REFUSED and "p.pt is pruned" in found.sentence


def test_keypoints_and_channels_are_named_in_the_sentence():
    found = fit_for_training(ModelFacts("m.pt", ("p",), 3, (17, 3)), DataFacts(("p",), 1, (4, 3)))
    assert "it finds 17 keypoints and the data set describes 4" in found.sentence
    assert "it takes images of 3 channels, and those of the data set have 1" in found.sentence
    assert "Its head and its first layer will be built anew" in found.sentence
    none = fit_for_training(ModelFacts("m.pt", ("p",), 3, (17, 3)), DataFacts(("p",)))
    assert none.verdict == REFUSED and "kpt_shape" in none.sentence


# Whether a model is pruned


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n-seg", "yolo26n", "yolov8n-pose", "yolov8n-cls"])
def test_a_stock_model_is_not_taken_for_a_pruned_one(name):
    assert not is_pruned(build(name))


@pytest.mark.parametrize(("before", "after"), [(80, 3), (3, 80)])
def test_a_model_that_stock_training_gave_another_head_is_not_taken_for_a_pruned_one(before, after):
    source, target = (DetectionModel("yolov8n.yaml", nc=count, verbose=False) for count in (before, after))
    target.load(source, verbose=False)
    assert not is_pruned(target)


def test_a_model_pruned_in_its_head_alone_is_known_as_pruned(rgb, tmp_path):
    opened = Slimming.open(rgb)
    body = tuple((layer.name, 0.0) for layer in opened.graph.layers if not layer.name.startswith("model.11."))
    path = opened.prune(0.03, tmp_path / "head.pt", SolverSettings(layer_ratios=body))
    assert open_checkpoint(path).params < opened.checkpoint.params
    assert is_pruned(open_checkpoint(path).model)


# Training


def test_classes_in_another_order_keep_what_the_model_knows_of_them():
    model = build("yolov8n")
    model.names = {number: f"kind {number}" for number in range(80)}
    shuffled = {number: f"kind {(number + 7) % 80}" for number in range(80)}
    before = [branch[-1].bias.detach().clone() for branch in model.model[-1].cv3]
    move_classes(model, shuffled)
    for branch, bias in zip(model.model[-1].cv3, before, strict=True):
        assert torch.equal(branch[-1].bias, bias.roll(-7))


def test_training_on_other_classes_says_so_first_and_the_result_holds_both_lists(rgb, tmp_path):
    data, events = write_set(tmp_path / "set", CELLS), []
    asked = {"weights": str(rgb), "data": data, "save_dir": str(tmp_path / "run"), **ONCE}
    result = run_verb("train", asked, events.append)
    assert "other classes (a, b, c) than the data set describes (Platelets, RBC, WBC)" in statuses(events)
    assert result["fit"]["verdict"] == RENAMED
    assert (result["fit"]["model_names"], result["fit"]["data_names"]) == (list(ABC), list(CELLS))
    assert tuple(open_checkpoint(result["last"]).names.values()) == CELLS


@pytest.mark.parametrize("kind", ["channels", "keypoints"])
@pytest.mark.parametrize("verb", ["train", "sparsify"])
def test_an_unpruned_model_is_trained_on_other_keypoints_and_channels_as_stock_does_and_goes_on(
    kind, verb, pairs, tmp_path
):
    (weights, data), events = pairs[kind], []
    asked = {"weights": str(weights), "data": data, "save_dir": str(tmp_path / "run"), **ONCE}
    result = run_verb(verb, asked, events.append)
    assert result["fit"]["verdict"] == REBUILT and "built anew" in statuses(events)
    made = open_checkpoint(result["last"])
    assert made.model.yaml.get("channels", 3) == (1 if kind == "channels" else 3)
    assert list(getattr(made.model, "kpt_shape", ())) == ([4, 3] if kind == "keypoints" else [])
    if verb == "sparsify":  # the sparsifier worked on what was trained
        assert (Slimming(made).scores == 0).mean() > 0.3
        return
    told = {"data": data, "device": "cpu", "imgsz": 64}
    assert run_verb("val", {"weights": result["last"], **told}, silent)["images"] == 4
    pruned = Slimming(made).prune(0.3, tmp_path / "pruned.pt")
    assert run_verb("val", {"weights": str(pruned), **told}, silent)["fit"]["verdict"] == FITS


def test_what_fits_of_a_rebuilt_model_is_what_it_knew(rgb, grey_set, tmp_path):
    """As stock: the first layer's filters are summed, all others are taken over."""
    asked = {"weights": str(rgb), "data": grey_set, "save_dir": str(tmp_path / "run"), **ONCE, "lr0": 1e-5}
    result = run_verb("train", asked, silent)
    before, after = (open_checkpoint(path).model.state_dict() for path in (rgb, result["last"]))
    first = "model.0.conv.weight"
    torch.testing.assert_close(after[first], before[first].sum(1, keepdim=True), atol=0.02, rtol=0.02)
    torch.testing.assert_close(
        after["model.4.cv1.conv.weight"], before["model.4.cv1.conv.weight"], atol=2e-3, rtol=0.02
    )


@pytest.mark.parametrize("kind", ["channels", "keypoints"])
@pytest.mark.parametrize("verb", ["train", "sparsify", "finetune"])
def test_a_pruned_model_on_other_keypoints_or_channels_gets_one_sentence_and_leaves_no_folder(
    kind, verb, pairs, pruned, tmp_path
):
    asked = {"weights": str(pruned[kind]), "data": pairs[kind][1], "save_dir": str(tmp_path / "run"), **ONCE}
    with pytest.raises(TrainingError, match="is pruned, so no part of it can be built anew") as refusal:
        run_verb(verb, asked, silent)
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_a_teacher_for_other_images_is_refused_before_anything_is_built(rgb, grey_set, tmp_path):
    grey = write_model(tmp_path / "grey.pt", ch=1)
    asked = {"weights": str(grey), "data": grey_set, "save_dir": str(tmp_path / "run"), **ONCE}
    with pytest.raises(TrainingError, match=r"teacher rgb\.pt takes images of 3 channels"):
        run_verb("finetune", {**asked, "teacher": str(rgb)}, silent)
    assert not (tmp_path / "run").exists()


# Everything else that reads a data set


@pytest.mark.parametrize("kind", ["channels", "keypoints"])
@pytest.mark.parametrize("verb", ["val", "compare", "accuracy", "sensitivity", "export"])
def test_measuring_on_other_keypoints_or_channels_gets_one_sentence(verb, kind, pairs, tmp_path):
    weights, data = pairs[kind]
    named = [str(weights)] if verb == "compare" else str(weights)
    asked = {"weights": named, "data": data, "imgsz": 64, "save_dir": str(tmp_path / "out"), "device": "cpu"}
    with pytest.raises(DatasetError, match="does not fit this data set") as refusal:
        run_verb(verb, asked, silent)
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_recalibration_on_images_of_other_channels_gets_one_sentence(rgb, grey_set, tmp_path):
    asked = {"weights": str(rgb), "data": grey_set, "save_dir": str(tmp_path / "out"), "prune_ratio": 0.3}
    with pytest.raises(DatasetError, match="images of 3 channels, and those of the data set have 1"):
        run_verb("prune", {**asked, "recalibrate": 2}, silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["val", "compare", "accuracy"])
def test_measuring_on_classes_of_other_names_says_so(verb, rgb, tmp_path):
    data, events = write_set(tmp_path / "set", CELLS), []
    named = [str(rgb)] if verb == "compare" else str(rgb)
    asked = {"weights": named, "data": data, "imgsz": 64, "save_dir": str(tmp_path), "device": "cpu"}
    few = {"images": 2, "ratios": [0.1], "recalibrate": 0} if verb == "accuracy" else {}
    result = run_verb(verb, {**asked, **few}, events.append)
    assert statuses(events).count("other classes (a, b, c)") == 1
    assert result["fit"]["verdict"] == RENAMED


def test_the_terminal_says_in_one_line_that_a_head_will_be_trained_anew(rgb, tmp_path, capsys):
    data = write_set(tmp_path / "set", (*ABC, "d", "e"))
    options = [part for key, value in ONCE.items() for part in (f"--{key}", str(value))]
    command = ["train", "--weights", str(rgb), "--data", data, "--save-dir", str(tmp_path / "run"), *options]
    assert main(command) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "does not fit" in line]
    assert "knows 3 classes (a, b, c)" in line and "5 classes (a, b, c and 2 more)" in line


@pytest.mark.parametrize("kept", ["all", "what another version kept"])
def test_what_a_workspace_keeps_of_a_file_tells_what_a_data_set_has_to_fit(kept, pose, tmp_path):
    """The Compare page reads no checkpoint to hold a data set against the models."""
    store = Store(tmp_path / "workspace")
    model = store.add_model(pose, "Pose", "imported")
    read = facts_of(store, model)
    assert read.fitting.keypoints == (17, 3) and read.fitting.names == ("person",)
    told = store.file_facts([model.digest])[model.digest]
    if kept == "all":
        model.path.unlink()
    else:
        told.pop("fitting")
        store.keep_file_facts(model.digest, told)
    assert facts_of(store, model) == read
    assert set(store.file_facts([model.digest])[model.digest]) == set(told) | {"fitting"}


def test_a_recipe_that_prunes_before_it_trains_on_other_data_is_refused_before_its_first_step(pairs, tmp_path):
    weights, data = pairs["keypoints"]
    steps = [{"prune": {"prune_ratio": 0.3}}, {"finetune": {**ONCE, "device": "cpu"}}]
    recipe = recipe_from_dict({"name": "R", "steps": steps})
    with pytest.raises(WorkbenchError, match=r"Step 2 \(finetune\).*pruned"):
        run_recipe(recipe, str(weights), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    measuring = recipe_from_dict({"name": "R", "steps": [{"val": {}}]})
    with pytest.raises(WorkbenchError, match=r"Step 1 \(val\).*does not fit"):
        run_recipe(measuring, str(weights), data, tmp_path / "out")


def test_a_recipe_trains_anew_says_so_and_compares_what_can_be_compared(pairs, tmp_path):
    (weights, data), events = pairs["channels"], []
    steps = [{"train": ONCE}, {"prune": {"prune_ratio": 0.3}}, {"compare": {"device": "cpu", "imgsz": 64}}]
    recipe = recipe_from_dict({"name": "R", "steps": steps})
    result = run_recipe(recipe, str(weights), data, tmp_path / "out", "cpu", events.append)
    assert "built anew" in statuses(events) and "is left out of the comparison" in statuses(events)
    assert len(result["steps"][-1]["result"]["models"]) == 2


# single_cls


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> tuple[Path, str]:
    """A model that stock Ultralytics trained with single_cls=True on a set of three classes, and the set."""
    folder = tmp_path_factory.mktemp("single")
    data = write_set(folder / "set")
    start = YOLO("yolov8n.yaml")
    told = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "freeze": 10}
    start.train(data=data, single_cls=True, project=str(folder), name="run", exist_ok=True, **told)
    return Path(shutil.move(folder / "run" / "weights" / "last.pt", folder / "single.pt")), data


def test_a_model_trained_with_single_cls_is_measured_on_its_own_data_set_as_stock_measures_it(single):
    weights, data = single
    events = []
    ours = run_verb("val", {"weights": str(weights), "data": data, "imgsz": 64, "device": "cpu"}, events.append)
    assert open_checkpoint(weights).single_cls and list(ours["per_class"]) in (["item"], [])
    assert "counts all 3 classes of the data set as one" in statuses(events)
    assert (ours["images"], ours["instances"]) == (4, 4)
    stock = YOLO(str(weights)).val(data=data, imgsz=64, batch=16, device="cpu", plots=False, single_cls=True)
    assert ours["map50"] == pytest.approx(float(stock.box.map50), abs=1e-6)


@pytest.mark.parametrize("verb", ["finetune", "sparsify", "train"])
def test_single_cls_is_honoured_by_training_and_recorded_on(verb, single, tmp_path):
    weights, data = single
    pruned = Slimming.open(weights).prune(0.3, tmp_path / "pruned.pt") if verb == "finetune" else weights
    assert open_checkpoint(pruned).single_cls
    asked = {"weights": str(pruned), "data": data, "save_dir": str(tmp_path / "run"), **ONCE}
    result = run_verb(verb, asked, silent)
    made = open_checkpoint(result["last"])
    assert made.single_cls and made.names == {0: "item"} and result["fit"]["verdict"] == FITS
    assert all("metrics" in row for row in result["comparison"])
    assert len(result["comparison"]) == (2 if verb == "finetune" else 0)


def test_what_is_said_of_single_cls_expressly_comes_before_what_is_recorded(single, rgb, tmp_path):
    weights, data = single
    asked = {"weights": str(weights), "data": data, "save_dir": str(tmp_path / "apart"), **ONCE}
    apart = run_verb("train", {**asked, "ultralytics": ["single_cls=False"]}, silent)
    assert apart["fit"]["verdict"] == REBUILT and len(open_checkpoint(apart["last"]).names) == 3
    told = {"weights": str(rgb), "data": data, "imgsz": 64, "device": "cpu", "ultralytics": ["single_cls=True"]}
    assert run_verb("val", told, silent)["fit"]["verdict"] == FITS


@pytest.mark.parametrize("verb", ["compare", "accuracy", "export"])
def test_single_cls_is_honoured_wherever_a_data_set_is_measured(verb, single, tmp_path):
    weights, data = single
    named = [str(weights)] if verb == "compare" else str(weights)
    asked = {"weights": named, "data": data, "imgsz": 64, "save_dir": str(tmp_path), "device": "cpu"}
    more = {
        "compare": {},
        "accuracy": {"images": 2, "ratios": [0.3], "recalibrate": 2},
        "export": {"precision": "int8"},
    }
    result = run_verb(verb, {**asked, **more[verb]}, silent)
    assert result

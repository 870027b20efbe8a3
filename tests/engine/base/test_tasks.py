"""Every task that Ultralytics trains goes through every verb: classification, semantic segmentation, depth."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ultralytics.cfg import TASK2METRIC
from ultralytics.cfg import TASKS as ULTRALYTICS_TASKS

from engine.base.errors import DatasetError, StopRequested, TrainingError
from engine.base.images import read_input
from engine.base.runtime import import_ultralytics
from engine.base.tasks import TASKS, main_metric, metric_label, score_heading
from engine.checkpoints.checkpoint import open_checkpoint
from engine.datasets import check_dataset, image_files
from engine.profile.gammas import summarise_gammas
from engine.pruning.gammas import collect_gammas
from engine.pruning.session import Slimming
from engine.training import TRAINERS
from engine.validation.cache import dataset_digest
from engine.validation.validator import validate
from engine.verbs import run_verb
from tests.runs import TINY
from tests.tasks import NAMES, SIZE, write_data, write_model

SILENT = lambda event: None  # noqa: E731
RUN = {**TINY, "epochs": 1, "batch": 3, "nbs": 3, "imgsz": SIZE}


@pytest.fixture(scope="module", params=list(NAMES))
def task(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp(task)


@pytest.fixture(scope="module")
def data(task, folder) -> str:
    return str(write_data(task, folder / "set"))


@pytest.fixture(scope="module")
def dense(task, folder) -> Path:
    return write_model(task, folder / "dense.pt")


@pytest.fixture(scope="module")
def pruned(dense, folder) -> Path:
    return Slimming.open(dense).prune(0.5, folder / "pruned.pt")


def test_the_table_names_every_task_that_ultralytics_trains_and_what_it_is_judged_by():
    assert set(TASKS) == set(ULTRALYTICS_TASKS) == set(TRAINERS)
    boxes_first = {"segment": "mAP50-95", "pose": "mAP50-95"}  # as everywhere here, of the boxes
    for name, task in TASKS.items():
        theirs = TASK2METRIC[name].removeprefix("metrics/").removesuffix("(B)")
        assert task.metric == boxes_first.get(name, theirs)


def test_every_task_is_sparse_trained_pruned_and_fine_tuned(task, dense, data, tmp_path):
    sparse = run_verb(
        "sparsify",
        {"weights": str(dense), "data": data, "save_dir": str(tmp_path / "s"), **RUN, "prune_ratio": 0.4},
        SILENT,
    )
    opened = open_checkpoint(sparse["last"])
    assert opened.task == task and opened.names == NAMES[task]
    assert summarise_gammas(collect_gammas(opened.model)).zero > 0.3
    cut = Slimming.open(sparse["last"]).prune(0.35, tmp_path / "pruned.pt")
    events = []
    tuned = run_verb(
        "finetune", {"weights": str(cut), "data": data, "save_dir": str(tmp_path / "t"), **RUN}, events.append
    )
    before, after = open_checkpoint(cut), open_checkpoint(tuned["best"])
    assert after.params == before.params < opened.params
    assert main_metric(tuned["metrics"]) == TASKS[task].metric
    assert [row["role"] for row in tuned["comparison"]] == ["parent", "child"]
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert epochs and main_metric(epochs[-1]["metrics"]) == TASKS[task].metric


def test_a_stopped_run_of_every_task_goes_on(task, pruned, data, tmp_path):
    spec = {"weights": str(pruned), "data": data, "save_dir": str(tmp_path / "run"), **RUN, "epochs": 2}

    def stop(event):
        if event["kind"] == "epoch":
            raise StopRequested

    assert run_verb("finetune", spec, stop)["stopped"]
    resumed = run_verb("finetune", {**spec, "resume": True}, SILENT)
    assert resumed["epochs_done"] == 2 and not resumed["stopped"]
    assert open_checkpoint(resumed["last"]).params == open_checkpoint(pruned).params


def test_validation_tells_the_metrics_and_classes_of_every_task(task, dense, data):
    measured = validate(dense, data, imgsz=SIZE, batch=4)
    assert measured.map50_95 is None and main_metric(measured.metrics) == TASKS[task].metric
    assert measured.images == measured.instances == 6
    assert set(measured.per_class) == (set() if task == "depth" else set(NAMES[task].values()))
    if task == "classify":  # as many images of every class, so the mean of the classes is the whole
        mean = sum(measured.per_class.values()) / 3
        assert measured.metrics["accuracy_top1"] == pytest.approx(mean, abs=1e-6)
    if task == "semantic":
        assert measured.metrics["mIoU"] == pytest.approx(sum(measured.per_class.values()) / 3, abs=1e-6)


def test_accuracy_after_pruning_is_measured_on_every_task(task, dense, data, tmp_path):
    spec = {"weights": str(dense), "data": data, "save_dir": str(tmp_path), "imgsz": SIZE, "device": "cpu"}
    said = []
    result = run_verb("accuracy", {**spec, "ratios": [0.3], "images": 4, "recalibrate": 4}, said.append)
    assert [point["recalibrated"] for point in result["points"]] == [4]
    assert main_metric(result["dense"]) == TASKS[task].metric
    assert any(metric_label(TASKS[task].metric) in event.get("text", "") for event in said)
    from engine.validation.impact.text import accuracy_text

    assert metric_label(TASKS[task].metric) in accuracy_text(result) and "mAP" not in accuracy_text(result)


def test_models_of_every_task_are_compared(task, dense, pruned, data):
    spec = {"weights": [str(dense), str(pruned)], "data": data, "imgsz": SIZE, "device": "cpu"}
    result = run_verb("compare", spec, SILENT)
    assert result["task"] == task
    assert all(main_metric(model["metrics"]) == TASKS[task].metric for model in result["models"])
    from engine.reports.comparison import comparison_table

    assert metric_label(TASKS[task].metric) in comparison_table(result)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_task_is_exported_through_its_own_gates(task, precision, pruned, data, tmp_path):
    spec = {"weights": str(pruned), "data": data, "save_dir": str(tmp_path), "imgsz": SIZE, "precision": precision}
    result = run_verb("export", spec, SILENT)
    gates = {gate["name"]: gate for gate in result["gates"]}
    failed = {name for name, gate in gates.items() if gate["passed"] is False}
    assert failed <= {"latency"}, "a busy machine decides how fast a tiny model is"
    words = {"classify": "first class", "semantic": "pixels have the same class", "depth": "pixels have the same depth"}
    assert gates["boxes"]["passed"] and words[task] in gates["boxes"]["text"]
    assert "mAP" not in gates["accuracy"]["text"]
    metric = TASKS[task].metric
    assert set(result["metrics"]) == ({metric, f"{metric} fp32"} if precision == "int8" else set())


def test_a_teacher_is_refused_where_ultralytics_cannot_distil(task, dense, pruned, data, tmp_path):
    spec = {"weights": str(pruned), "data": data, "save_dir": str(tmp_path / "run"), **RUN, "teacher": str(dense)}
    with pytest.raises(TrainingError, match=r"distils only models that find boxes"):
        run_verb("finetune", spec, SILENT)
    assert not (tmp_path / "run").exists()
    if task == "classify":  # a recipe serves every task
        said = []
        chain = {"base": str(dense), "made": [str(pruned)]}
        run_verb("finetune", {**spec, "chain": chain}, said.append)
        assert any("without a teacher" in event.get("text", "") for event in said)


def test_pruned_models_of_other_classes_are_refused_in_one_sentence(tmp_path):
    data = write_data("classify", tmp_path / "set")
    for split in ("train", "val"):
        (tmp_path / "set" / split / "extra").mkdir()
        source = next((tmp_path / "set" / split / "red").iterdir())
        (tmp_path / "set" / split / "extra" / source.name).write_bytes(source.read_bytes())
    pruned = Slimming.open(write_model("classify", tmp_path / "c.pt")).prune(0.5, tmp_path / "p.pt")
    with pytest.raises(TrainingError, match=r"knows 3 classes \(.*\) and the data set describes 4 classes"):
        run_verb(
            "finetune", {"weights": str(pruned), "data": str(data), "save_dir": str(tmp_path / "r"), **RUN}, SILENT
        )


def test_a_report_says_what_a_model_without_boxes_finds(task, dense, data, tmp_path):
    result = run_verb("report", {"weights": str(dense), "data": data, "save_dir": str(tmp_path)}, SILENT)
    text = Path(result["report"]).read_text(encoding="utf-8")
    words = {"depth": r"depth \d"}.get(task, "|".join(NAMES[task].values()))
    assert re.search(rf"<figcaption>0\.png: ({words})", text) and "mAP" not in text


def test_images_reach_the_model_as_the_validator_of_every_task_shows_them(task, dense, data):
    model = import_ultralytics().YOLO(str(dense))
    seen = {}

    def look(validator):
        validator.preprocess_ = validator.preprocess
        validator.preprocess = lambda batch: seen.setdefault("batch", validator.preprocess_(batch))

    model.add_callback("on_val_batch_start", lambda validator: look(validator) if not seen else None)
    model.val(data=data, imgsz=SIZE - 32, batch=1, device="cpu", plots=False, workers=0, verbose=False)
    images = image_files(check_dataset(data, task), "val")
    ours = [torch.from_numpy(read_input(image, 3, SIZE - 32, SIZE - 32, task)) for image in images]
    shown = seen["batch"]["img"].float()  # of the images any one: a classifier's validator shuffles them
    assert min(float((each - shown).abs().max()) for each in ours) <= 2 / 255


def test_the_digest_of_a_data_set_changes_with_a_label_of_every_kind(task, tmp_path):
    data = write_data(task, tmp_path / "set", train=3, val=3)
    before = dataset_digest(data, "val")
    assert dataset_digest(data, "val") == before
    if task == "classify":
        image = tmp_path / "set" / "val" / "red" / "2.png"
        image.rename(tmp_path / "set" / "val" / "blue" / "2.png")
    else:
        label = next((tmp_path / "set" / {"semantic": "masks", "depth": "depth"}[task] / "val").iterdir())
        label.unlink()
    assert dataset_digest(data, "val") != before


def test_a_folder_of_classes_is_checked_without_a_description(tmp_path):
    data = write_data("classify", tmp_path / "set")
    info = check_dataset(data)
    assert info.names == NAMES["classify"] and info.images == {"train": 9, "val": 6}
    assert info.boxes_per_class == {"blue": 5, "green": 5, "red": 5} and not info.problems
    (tmp_path / "set" / "val").rename(tmp_path / "set" / "validation")
    assert check_dataset(data).images == {"train": 9, "val": 6}, "as Ultralytics names it too"


@pytest.mark.parametrize(
    ("missing", "words"), [("train", "no train folder"), ("val", "no images in the val folder")], ids=["train", "val"]
)
def test_a_folder_of_classes_that_lacks_a_split_is_refused(missing, words, tmp_path):
    data = write_data("classify", tmp_path / "set")
    (data / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=words):
        check_dataset(data, "classify")


def test_masks_of_unknown_classes_and_depth_maps_of_eight_bits_are_refused(tmp_path):
    import cv2
    import numpy as np

    masks = write_data("semantic", tmp_path / "masks", 3, 3)
    for path in (tmp_path / "masks" / "masks").rglob("*.png"):
        cv2.imwrite(str(path), np.full((SIZE, SIZE), 7, np.uint8))
    with pytest.raises(DatasetError, match="the value 7 is no class"):
        check_dataset(masks, "semantic")
    depth = write_data("depth", tmp_path / "depth", 3, 3)
    for path in (tmp_path / "depth" / "depth").rglob("*.png"):
        cv2.imwrite(str(path), np.full((SIZE, SIZE), 7, np.uint8))
    with pytest.raises(DatasetError, match="not a PNG of 16-bit numbers"):
        check_dataset(depth, "depth")


def test_polygons_teach_semantic_segmentation_with_a_class_for_the_background(tmp_path):
    write_data("semantic", tmp_path, 3, 3)
    (tmp_path / "masks").rename(tmp_path / "unused")
    (tmp_path / "data.yaml").write_text((tmp_path / "data.yaml").read_text().replace("masks_dir: masks\n", ""))
    for image in (tmp_path / "images").rglob("*.png"):
        label = tmp_path / "labels" / image.parent.name / f"{image.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n")
    info = check_dataset(tmp_path / "data.yaml", "semantic")
    assert info.names == {**NAMES["semantic"], 3: "background"}
    result = run_verb(
        "train",
        {
            "weights": str(write_model("semantic", tmp_path / "m.pt")),
            "data": str(tmp_path / "data.yaml"),
            "save_dir": str(tmp_path / "run"),
            **RUN,
        },
        SILENT,
    )
    trained = open_checkpoint(result["best"])
    assert trained.names == info.names
    assert validate(trained.path, tmp_path / "data.yaml", imgsz=SIZE).metrics["mIoU"] >= 0


def test_dropout_that_is_asked_for_reaches_a_classifier_that_is_kept(tmp_path):
    trainer = TRAINERS["classify"].__new__(TRAINERS["classify"])
    checkpoint = open_checkpoint(write_model("classify", tmp_path / "c.pt"))
    model = checkpoint.model
    trainer.args = SimpleNamespace(dropout=0.3, single_cls=False, task="classify", model=str(checkpoint.path))
    trainer.data = {"nc": 3, "channels": 3, "names": checkpoint.names}
    kept = trainer.get_model(model.yaml, model)
    assert kept is model
    assert [module.p for module in kept.modules() if isinstance(module, torch.nn.Dropout)] == [0.3]


def test_a_column_of_scores_is_headed_by_the_metric_that_judges_all_of_them():
    assert score_heading([{"accuracy_top1": 0.5}, {}]) == "Top-1 accuracy"
    assert score_heading([{"accuracy_top1": 0.5}, {"mAP50-95": 0.5}]) == "Accuracy"
    assert score_heading([{"params": 3}]) == "mAP50-95"

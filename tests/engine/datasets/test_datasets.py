import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.base.errors import DatasetError
from engine.base.runtime import import_ultralytics
from engine.datasets import check_dataset, resolved_yaml
from engine.datasets.boxes import _parse_labels, label_file
from engine.demo.boats import CLASS_NAMES
from engine.demo.dataset import DEMO_TRAINING, make_demo_dataset
from engine.demo.harbour import draw_scene

REPOSITORY = Path(__file__).resolve().parents[3]
ROW = "0 0.5 0.5 0.2 0.2\n"


def write_set(folder: Path, labels: dict[str, str | None], **description) -> Path:
    """A data set of empty image files; ``labels`` maps 'train/a' to the label text, or None for no label file."""
    for stem, text in labels.items():
        image, label = folder / "images" / f"{stem}.jpg", folder / "labels" / f"{stem}.txt"
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
        if text is not None:
            label.write_text(text)
    description = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]} | description
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in description.items() if value is not None}))
    return file


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


FIRST_BOATS = [(1, 209.4, 156.7, 260.5, 174.8), (1, 210.5, 139.3, 250.1, 156.6)]
FIRST_MEAN_COLOUR = [51.6, 98.8, 125.7]

GOOD = {"train/a": ROW * 2, "train/b": "1 0.1 0.1 0.1 0.1\n", "val/c": ROW}


# What a good set holds


def test_a_good_set_is_counted_and_has_no_problems(tmp_path):
    file = write_set(tmp_path, GOOD)
    info = check_dataset(file)
    assert (info.yaml_path, info.root) == (file, tmp_path)
    assert info.names == {0: "cat", 1: "dog"}
    assert info.images == {"train": 2, "val": 1}
    assert info.labels == {"train": 3, "val": 1}
    assert info.boxes_per_class == {"cat": 3, "dog": 1}
    assert info.problems == ()


def test_checking_writes_nothing(tmp_path):
    file = write_set(tmp_path, GOOD)
    before = snapshot(tmp_path)
    check_dataset(file)
    assert snapshot(tmp_path) == before


def test_a_description_is_never_executed_or_downloaded(tmp_path):
    file = write_set(tmp_path, GOOD, val="images/gone", download=f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DatasetError, match="images/gone"):
        check_dataset(file)
    assert not (tmp_path / "ran").exists()


def test_importing_the_room_loads_neither_torch_nor_ultralytics_nor_streamlit():
    program = "import sys, engine.datasets; print({'torch', 'ultralytics', 'streamlit'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_folder_of_a_set_stands_for_its_only_yaml_file(tmp_path):
    file = write_set(tmp_path, GOOD)
    assert check_dataset(tmp_path).yaml_path == file


@pytest.mark.parametrize("path", [".", "inner", "absolute"])
def test_path_is_relative_to_the_folder_of_the_yaml_file(tmp_path, path, monkeypatch):
    root = tmp_path / "inner" if path == "inner" else tmp_path
    file = write_set(root, GOOD, path=str(root) if path == "absolute" else path)
    file = file.rename(tmp_path / "set.yaml")
    monkeypatch.chdir(REPOSITORY)
    assert check_dataset(file).root == root


def test_one_wrong_step_up_is_forgiven_as_in_ultralytics(tmp_path):
    file = write_set(tmp_path / "set", GOOD, train="../images/train", val="../images/val")
    assert check_dataset(file).images == {"train": 2, "val": 1}


def test_a_split_may_be_a_list_of_folders(tmp_path):
    file = write_set(tmp_path, GOOD, train=["images/train", "images/val"])
    assert check_dataset(file).images == {"train": 3, "val": 1}


def test_a_split_may_be_a_text_file_whose_dotted_lines_are_relative_to_it(tmp_path):
    file = write_set(tmp_path, GOOD, train="train.txt")
    (tmp_path / "train.txt").write_text(f"./images/train/a.jpg\n{tmp_path / 'images/train/b.jpg'}\n./images/no.jpg\n")
    info = check_dataset(file)
    assert info.images["train"] == 2
    assert info.problems == ("1 listed train image cannot be found and will be skipped: no.jpg.",)


def test_images_are_found_at_any_depth_and_in_any_letter_case(tmp_path):
    file = write_set(tmp_path, GOOD | {"train/deep/er/d": ROW})
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/train/a.JPG")
    assert check_dataset(file).images["train"] == 3


def test_names_may_be_numbered_and_validation_may_be_spelt_out(tmp_path):
    file = write_set(tmp_path, GOOD, names={"1": "dog", "0": "cat"}, val=None, validation="images/val")
    info = check_dataset(file)
    assert (info.names, info.images["val"]) == ({0: "cat", 1: "dog"}, 1)


def test_without_names_a_class_count_is_enough_as_in_ultralytics(tmp_path):
    file = write_set(tmp_path, GOOD, names=None, nc=2)
    assert check_dataset(file).names == {0: "class_0", 1: "class_1"}


@pytest.mark.parametrize("row", ["0 0.1 0.1 0.5 0.1 0.5 0.5", "1 .1 .1 .5 .1 .5 .5 .1 .5", "0 .5 .5 .2 .2"])
def test_polygons_and_oriented_boxes_count_as_boxes(tmp_path, row):
    info = check_dataset(write_set(tmp_path, {"train/a": row, "val/b": row}))
    assert info.labels == {"train": 1, "val": 1}


def test_keypoint_rows_count_when_the_set_declares_their_shape(tmp_path):
    row = "0 .5 .5 .2 .2 .4 .4 2 .6 .6 1"
    info = check_dataset(write_set(tmp_path, {"train/a": row, "val/b": row}, kpt_shape=[2, 3]))
    assert info.labels == {"train": 1, "val": 1}


# Problems that do not stand in the way


def test_images_without_labels_are_named(tmp_path):
    info = check_dataset(write_set(tmp_path, GOOD | {"train/d": None}))
    assert info.problems == ("1 train image without a label file will count as background: d.txt.",)


def test_a_few_labels_outside_the_names_are_a_problem_only(tmp_path):
    info = check_dataset(write_set(tmp_path, GOOD | {"train/d": "7 0.5 0.5 0.1 0.1\n" + ROW}))
    assert info.problems == ("1 train label file with classes up to 7, outside the 2 names, will be skipped: d.txt.",)
    assert info.labels["train"] == 3


def test_a_malformed_label_file_is_a_problem_only(tmp_path):
    info = check_dataset(write_set(tmp_path, GOOD | {"train/d": "0 0.5 0.5 1.5 0.1\n"}))
    assert info.problems == ("1 train label file will be skipped (a coordinate is not between 0 and 1): d.txt.",)


def test_a_class_without_boxes_is_named(tmp_path):
    info = check_dataset(write_set(tmp_path, GOOD, names=["cat", "dog", "owl"]))
    assert info.problems == ("There are no boxes of owl.",)


def test_a_missing_test_split_is_a_problem_only_and_is_left_out_of_the_resolved_file(tmp_path):
    info = check_dataset(write_set(tmp_path, GOOD, test="images/test"))
    assert "test" not in info.images and len(info.problems) == 1 and "images/test" in info.problems[0]
    assert "test" not in yaml.safe_load(resolved_yaml(info, tmp_path / "job").read_text())


# Errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": None}, "has no 'train'"),
        ({"val": None}, "has no 'val'"),
        ({"train": ""}, "has no 'train'"),
        ({"train": 3}, "'train' .* is 3; it must be a path"),
        ({"train": "images/\0"}, "must be a path"),
        ({"train": "images/" + "n" * 400}, "does not exist"),
        ({"path": ["a"]}, "'path' .* must be the path of a folder"),
        ({"path": "nowhere"}, "'path: nowhere' in data.yaml points nowhere"),
        ({"val": "images/nowhere"}, "'val: images/nowhere' in data.yaml points to .* does not exist"),
        ({"val": "labels"}, "no images in .*labels; correct 'val'"),
        ({"val": "data.yaml"}, "no images in .*data.yaml; correct 'val'"),
        ({"names": None}, "has no 'names'"),
        ({"names": []}, "at least one class name"),
        ({"names": "cat"}, "it must be a list"),
        ({"names": {0: "cat", 2: "dog"}}, "numbers its 2 classes 0 to 2"),
        ({"names": {"a": "cat"}}, "must number its classes"),
        ({"nc": 3}, "says nc: 3 but names 2 classes"),
        ({"nc": "many"}, "'nc' in data.yaml is 'many'"),
    ],
)
def test_a_description_that_cannot_work_is_refused_in_one_line(tmp_path, change, words):
    file = write_set(tmp_path, GOOD, **change)
    with pytest.raises(DatasetError, match=words) as caught:
        check_dataset(file)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "name", ["gone.yaml", "~nobody-of-this-name/data.yaml", "n" * 300, "https://example.com/a.yaml"]
)
def test_a_missing_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="does not exist; give the path"):
        check_dataset(name)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"set\.zip is not a \.yaml file"):
        check_dataset(tmp_path / "set.zip")


@pytest.mark.parametrize("number", [0, 2])
def test_a_folder_without_one_clear_description_is_refused(tmp_path, number):
    for index in range(number):
        (tmp_path / f"{index}.yaml").touch()
    with pytest.raises(DatasetError, match=r"holds (no|2) \.yaml files"):
        check_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"), [("a: [1\nb: 2", "not valid YAML"), ("", "not a data set"), ("- 1", "not a")]
)
def test_a_file_that_is_no_description_is_refused(tmp_path, text, words):
    file = tmp_path / "data.yaml"
    file.write_text(text)
    with pytest.raises(DatasetError, match=words):
        check_dataset(file)


def test_labels_of_another_set_are_refused(tmp_path):
    other = {f"train/{stem}": "5 0.5 0.5 0.1 0.1\n" for stem in "abc"}
    file = write_set(tmp_path, other | {"train/d": ROW, "val/e": ROW})
    with pytest.raises(DatasetError, match="3 of 4 train label files use classes up to 5, but 'names' has only 0 to 1"):
        check_dataset(file)


def test_a_set_without_any_label_file_says_where_it_looked(tmp_path):
    file = write_set(tmp_path, {"train/a": None, "train/b": None, "val/c": ROW})
    with pytest.raises(DatasetError, match=r"None of the 2 train images has a label file; .*labels/train/a\.txt"):
        check_dataset(file)


def test_files_that_are_not_yolo_labels_are_refused(tmp_path):
    file = write_set(tmp_path, {"train/a": "cat 1 2 3 4\n", "val/c": ROW})
    with pytest.raises(DatasetError, match=r"1 of 1 train label files are not YOLO labels: .*not made of numbers"):
        check_dataset(file)


def test_a_list_whose_images_are_elsewhere_is_refused(tmp_path):
    file = write_set(tmp_path, GOOD, train="train.txt")
    (tmp_path / "train.txt").write_text("/moved/images/a.jpg\n")
    with pytest.raises(DatasetError, match=r"None of the 1 images of 'train' .* /moved/images/a\.jpg"):
        check_dataset(file)


# Properties of the rules


shares = st.floats(0, 1, allow_nan=False).map(lambda share: f"{share:.6f}")
boxes = st.tuples(st.integers(0, 99), st.lists(shares, min_size=4, max_size=4))


@given(st.lists(boxes), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_every_written_box_is_read_back(rows, newline):
    text = newline.join(f"{index} {' '.join(coordinates)}" for index, coordinates in rows)
    assert _parse_labels(text, keypoint_columns=0) == [index for index, _ in rows]


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_description_is_refused_or_read_but_never_a_crash(tmp_path, text):
    file = tmp_path / "data.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DatasetError):
        check_dataset(file)


@given(st.text())
def test_any_text_as_labels_is_malformed_or_classes(text):
    try:
        classes = _parse_labels(text, keypoint_columns=0)
    except ValueError:
        return
    assert all(isinstance(index, int) and index >= 0 for index in classes)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/a.jpg", "/d/labels/a.txt"),
        ("/images/set/images/x/a.b.png", "/images/set/labels/x/a.b.txt"),
        ("/d/pictures/a.jpg", "/d/pictures/a.txt"),
    ],
)
def test_only_the_last_images_folder_becomes_labels(image, label):
    assert label_file(image.replace("/", os.sep)) == label.replace("/", os.sep)


# The resolved description


def test_the_resolved_description_means_the_same_set_from_anywhere(tmp_path, monkeypatch):
    info = check_dataset(write_set(tmp_path / "set", GOOD, path=".", download="https://example.com/set.zip"))
    written = resolved_yaml(info, tmp_path / "job")
    monkeypatch.chdir(REPOSITORY)
    again = check_dataset(written)
    assert dataclasses.replace(again, yaml_path=info.yaml_path) == info
    description = yaml.safe_load(written.read_text())
    assert description["path"] == str(tmp_path / "set") and "download" not in description
    assert sorted(file.name for file in (tmp_path / "job").iterdir()) == ["data.yaml"]


def test_resolving_keeps_what_other_tasks_need(tmp_path):
    row = "0 .5 .5 .2 .2 .4 .4 .6 .6"
    file = write_set(tmp_path, {"train/a": row, "val/b": row}, kpt_shape=[2, 2], flip_idx=[1, 0])
    description = yaml.safe_load(resolved_yaml(check_dataset(file), tmp_path / "job").read_text())
    assert (description["kpt_shape"], description["flip_idx"]) == ([2, 2], [1, 0])


def test_ultralytics_finds_the_same_images_and_boxes(tmp_path, monkeypatch):
    demo = make_demo_dataset(tmp_path / "set", train=4, val=2, imgsz=64).parent
    files = {name: demo / "labels/train" / f"train_000{index}.txt" for index, name in enumerate(("none", "bad", "far"))}
    files["none"].unlink()
    files["bad"].write_text("0 0.5 0.5 1.5 0.1\n")
    files["far"].write_text("9 0.5 0.5 0.1 0.1\n")
    (demo / "labels/train/train_0003.txt").write_text(ROW + "0 0.1 0.1 0.1 0.1\n")
    (demo / "val.txt").write_text("./images/val/val_0000.jpg\n./images/val/val_0001.jpg\n")
    for index in range(4, 8):  # enough good files that the bad ones are problems and not errors
        Image.new("RGB", (64, 64)).save(demo / "images/train" / f"more_{index}.jpg")
        (demo / "labels/train" / f"more_{index}.txt").write_text(ROW)
    description = {"train": ["images/train"], "val": "val.txt", "names": list(CLASS_NAMES)}
    (demo / "data.yaml").write_text(yaml.safe_dump(description))
    monkeypatch.chdir(REPOSITORY)

    info = check_dataset(demo)
    import_ultralytics()
    from ultralytics.data import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(resolved_yaml(info, tmp_path / "job")), autodownload=False)
    assert len(info.problems) == 3
    assert data["names"] == info.names
    for split in ("train", "val"):
        found = YOLODataset(img_path=data[split], data=data, task="detect", augment=False)
        assert len(found.get_img_files(data[split])) == info.images[split]
        assert sum(len(label["cls"]) for label in found.labels) == info.labels[split]


# The demo set


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return make_demo_dataset(tmp_path_factory.mktemp("demo") / "harbour", train=8, val=3, imgsz=320)


def test_the_demo_set_passes_its_own_check(demo):
    info = check_dataset(demo)
    assert info.images == {"train": 8, "val": 3}
    assert tuple(info.names.values()) == CLASS_NAMES
    assert all(info.boxes_per_class.values())
    assert info.problems == ()


def test_the_demo_set_is_small_and_its_pictures_have_the_asked_size(demo):
    files = list(demo.parent.rglob("*.jpg"))
    assert {Image.open(file).size for file in files} == {(320, 320)}
    assert sum(file.stat().st_size for file in files) / len(files) < 40_000


def test_equal_settings_draw_equal_bytes_and_another_seed_draws_others(tmp_path):
    sets = [
        snapshot(make_demo_dataset(tmp_path / name, train=2, val=1, imgsz=96, seed=seed).parent)
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    ]
    assert sets[0] == sets[1]
    assert sets[0]["images/train/train_0000.jpg"] != sets[2]["images/train/train_0000.jpg"]


def test_the_drawing_has_not_changed_unnoticed():
    """The demo model was trained on these pictures; whoever changes them raises the drawing version."""
    scene = draw_scene(np.random.default_rng((0, 0, 0)), 320)
    boxes = [(boat.class_index, *(round(edge, 1) for edge in boat.box)) for boat in scene.boats]
    assert boxes[:2] == FIRST_BOATS
    assert np.asarray(scene.image, dtype=float).mean((0, 1)).round(1).tolist() == FIRST_MEAN_COLOUR


def test_asking_for_more_pictures_keeps_the_first_ones(tmp_path):
    few = snapshot(make_demo_dataset(tmp_path / "few", train=1, val=1, imgsz=96).parent)
    more = snapshot(make_demo_dataset(tmp_path / "more", train=3, val=2, imgsz=96).parent)
    pictures = {name: digest for name, digest in few.items() if name.startswith(("images", "labels"))}
    assert pictures.items() <= more.items()


def test_a_complete_demo_set_is_left_as_it_is(tmp_path):
    file = make_demo_dataset(tmp_path / "demo", train=1, val=1, imgsz=96)
    times = {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")}
    assert make_demo_dataset(tmp_path / "demo", train=1, val=1, imgsz=96) == file
    assert {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")} == times


def test_a_damaged_or_differently_made_demo_set_is_drawn_again(tmp_path):
    file = make_demo_dataset(tmp_path / "demo", train=2, val=1, imgsz=96)
    whole = snapshot(file.parent)
    (file.parent / "labels/train/train_0001.txt").unlink()
    make_demo_dataset(tmp_path / "demo", train=2, val=1, imgsz=96)
    assert snapshot(file.parent) == whole
    make_demo_dataset(tmp_path / "demo", train=1, val=1, imgsz=96)
    assert check_dataset(file).images == {"train": 1, "val": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="something other than a demo set"):
        make_demo_dataset(tmp_path, train=1, val=1, imgsz=96)
    assert snapshot(tmp_path).keys() == {"thesis.txt"}


def test_a_failure_while_drawing_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("stop")

    monkeypatch.setattr("engine.demo.dataset.draw_scene", fail)
    with pytest.raises(RuntimeError, match="stop"):
        make_demo_dataset(tmp_path / "demo", train=1, val=1, imgsz=96)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": -1}, {"imgsz": 8}, {"seed": -1}])
def test_demo_settings_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(DatasetError):
        make_demo_dataset(tmp_path / "demo", **wrong)
    assert list(tmp_path.iterdir()) == []


@given(seed=st.integers(0, 2**32), size=st.sampled_from([64, 96, 160]))
@settings(max_examples=25, deadline=None)
def test_every_boat_has_a_real_box_inside_the_picture(seed, size):
    scene = draw_scene(np.random.default_rng(seed), size)
    assert scene.image.size == (size, size) and scene.image.mode == "RGB"
    for boat in scene.boats:
        left, top, right, bottom = boat.box
        assert 0 <= left < right <= size and 0 <= top < bottom <= size
        assert 0 <= boat.class_index < len(CLASS_NAMES)


def test_the_training_settings_of_the_demo_model_are_plain_values():
    assert json.loads(json.dumps(dataclasses.asdict(DEMO_TRAINING))) == dataclasses.asdict(DEMO_TRAINING)

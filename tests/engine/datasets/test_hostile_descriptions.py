"""A data set that would stop a server is refused in one sentence: descriptions, labels and links."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from engine.base.errors import DatasetError
from engine.datasets import check_dataset

NAMES = "abcdefgh"
BOMB = "\n".join(
    [
        "a: &a [x, x, x, x, x, x, x, x]",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]" for a, b in pairwise(NAMES)),
        "names: *h",
    ]
)
"The words of 8 lines stand for 8 to the power of 8."


@pytest.fixture
def data(tmp_path) -> Path:
    """A set of two images a split with a box each."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / "images" / split / f"{number}.png")
            (tmp_path / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    description = tmp_path / "data.yaml"
    description.write_text("train: images/train\nval: images/val\nnames: [boat]\n")
    return description


def refusal(data: Path) -> str:
    with pytest.raises(DatasetError) as refused:
        check_dataset(data)
    sentence = str(refused.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nc: 1000000000", "100,000 is the most"),
        ("nc: 1.0e+300", "100,000 is the most"),
        ("names: &n [*n]", "refers to itself"),
        (BOMB, "values"),
        ("names: " + "[" * 4000 + "]" * 4000, "nested"),
        ("channels: 0x" + "f" * 10_000, "a number too large"),
        ("names: '" + "x" * 2000 + "'", "must be a list"),
    ],
)  # fmt: skip
def test_a_description_that_costs_too_much(data, line, words):
    kept = [each for each in data.read_text().splitlines() if each.partition(":")[0] not in line]
    if line.startswith("nc"):
        kept = [each for each in kept if not each.startswith("names")]
    data.write_text("\n".join([*kept, line]))
    assert words in refusal(data)


def test_a_description_without_end(tmp_path):
    os.symlink("/dev/zero", tmp_path / "data.yaml")
    assert "no ordinary file" in refusal(tmp_path / "data.yaml")


def test_labels_that_are_pipes_or_devices_are_told_like_other_broken_ones(data):
    label = data.parent / "labels" / "val" / "0.txt"
    label.unlink()
    os.mkfifo(label)
    info = check_dataset(data)
    assert any("cannot be read as text" in problem for problem in info.problems)


def test_a_link_that_leads_back_is_named(data):
    os.symlink(data.parent / "images", data.parent / "images" / "train" / "again")
    assert "leads back to a folder" in refusal(data)


def test_a_link_to_images_elsewhere_is_followed(data, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "images" / "more"
    elsewhere.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(elsewhere / "2.png")
    os.symlink(elsewhere, data.parent / "images" / "train" / "more")
    assert check_dataset(data).images["train"] == 3


def test_a_class_folder_that_leads_back_is_named(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "boat").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / "boat" / "0.png")
    os.symlink(tmp_path / "train", tmp_path / "train" / "boat" / "again")
    assert "leads back to a folder" in refusal(tmp_path)

"""Paths as people may write them: whatever stands where a path is expected is refused in one sentence."""

import os
from pathlib import Path

import pytest
import yaml

from engine.base.errors import WorkbenchError
from engine.base.files import expanded
from engine.checkpoints.checkpoint import open_checkpoint
from engine.cli import main
from engine.datasets import check_dataset
from engine.recipes import load_recipe
from engine.validation.impact import read_factors
from engine.verbs.common import resolve_weights
from engine.workspace.store import Store

TEXTS = ["~0", "~0/model.pt", "~nobody-of-that-name/data.yaml", "\0", "a" * 300, "a/" * 3000]
"A home folder of nobody, a character that no path may have, names that are too long."
ids = pytest.mark.parametrize("text", TEXTS, ids=["nobody", "below nobody", "a name", "null", "long", "deep"])


def test_a_home_folder_is_found_and_one_of_nobody_stays_as_it_is_written():
    assert expanded("~/sets") == Path(os.path.expanduser("~")) / "sets"
    assert [str(expanded(text)) for text in ("~0", "~0/x", "a/~0")] == ["~0", "~0/x", "a/~0"]


@ids
@pytest.mark.parametrize(
    "read",
    [load_recipe, check_dataset, read_factors, lambda text: open_checkpoint(resolve_weights(text))],
    ids=["recipe", "data set", "sensitivity file", "weights"],
)
def test_a_path_that_cannot_be_is_refused_in_one_sentence(read, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkbenchError):
        read(text)


@ids
@pytest.mark.parametrize("key", ["data", "weights"])
def test_a_recipe_whose_paths_cannot_be_is_refused_in_one_sentence(key, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    content = {"weights": "yolov8n.yaml", "data": "data.yaml", key: text, "steps": [{"train": {"epochs": 1}}]}
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["run", str(recipe), "--save-dir", "out"]) != 0
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said


def test_a_workspace_in_the_home_folder_of_nobody_is_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store("~0").folder == tmp_path / "~0"

"""Recipes in words, and reading an uploaded one."""

import pytest

from app.jobs.recipes import needs_data, read_upload, step_words
from engine.recipes import Recipe, RecipeError, Step, recipe_to_yaml, shipped_recipes


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            Step("sparsify", {"epochs": 50, "prune_ratio": 0.5, "nbs": 4}),
            "Sparse training: 50 epochs, ratio 0.5; nbs 4",
        ),
        (Step("sparsify", {"method": "proximal", "sr": 0.2}), "Sparse training: proximal method, strength 0.2"),
        (Step("prune", {"max_params": 1_500_000}), "Pruning: at most 1.50 M parameters"),
        (Step("prune", {"max_gflops": 2}), "Pruning: at most 2.00 GFLOPs at 640 px"),
        (
            Step("sparsify", {"max_gflops": 2, "imgsz": 320}),
            "Sparse training: at most 2.00 GFLOPs at 640 px; imgsz 320",
        ),
        (Step("finetune", {"epochs": 1, "distill": True}), "Fine-tuning: 1 epoch, the original as teacher"),
        (Step("compare"), "Comparison: with the original and each other"),
        (Step("export"), "Export"),
    ],
)
def test_steps_in_words(step, words):
    assert step_words(step) == words


def test_only_steps_that_look_at_images_need_data():
    assert not needs_data(Recipe("x", steps=(Step("prune", {"prune_ratio": 0.5}), Step("export"))))
    assert needs_data(Recipe("x", steps=(Step("prune", {"recalibrate": 16}),)))
    assert all(needs_data(recipe) for recipe in shipped_recipes())


def test_an_uploaded_recipe_is_read_and_a_broken_one_refused():
    recipe = shipped_recipes()[0]
    read = read_upload("mine.yaml", recipe_to_yaml(recipe).encode())
    assert (read.name, read.steps) == (recipe.name, recipe.steps)
    with pytest.raises(RecipeError, match="did you mean epochs"):
        read_upload("mine.yaml", b"steps:\n  - sparsify: {epoch: 3}\n")
    with pytest.raises(RecipeError):
        read_upload("../../etc/mine.YAML", b"\xff\xfe")

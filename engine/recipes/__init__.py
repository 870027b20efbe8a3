"""Recipes: the whole chain from a trained model to a small, measured and exported one, as one short YAML file."""

from engine.recipes.format import (
    Recipe,
    RecipeError,
    Step,
    load_recipe,
    open_recipe,
    recipe_from_dict,
    recipe_from_job,
    recipe_to_yaml,
    shipped_names,
    shipped_recipes,
)
from engine.recipes.steps import made_models, step_spec

__all__ = [
    "Recipe",
    "RecipeError",
    "Step",
    "load_recipe",
    "made_models",
    "open_recipe",
    "recipe_from_dict",
    "recipe_from_job",
    "recipe_to_yaml",
    "shipped_names",
    "shipped_recipes",
    "step_spec",
]

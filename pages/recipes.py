"""Recipes: the whole way from a trained model to a small, measured and exported one, as one chain of jobs."""

import streamlit as st

from app.data.choosing import choose_data
from app.data.fit import NOT_YET
from app.frame.session import PAGES, explained, require_model
from app.jobs.recipes import needs_data, read_upload, recipe_goes_together, start_recipe, step_words
from app.training.settings import devices
from app.words import format
from engine.recipes import Recipe, recipe_to_yaml, shipped_recipes

OWN = "My own file"


def choose_recipe() -> Recipe | None:
    shipped = {recipe.name: recipe for recipe in shipped_recipes()}
    chosen = st.segmented_control(
        "Recipe",
        [*shipped, OWN],
        default=next(iter(shipped)),
        required=True,
        key="recipe",
        persist_state="session",
        help="One that comes with the workbench, or a YAML file, such as one saved from a job.",
    )
    if chosen != OWN:
        return shipped[chosen]
    file = st.file_uploader(
        "Recipe file",
        type=["yaml", "yml"],
        key="recipe file",
        max_upload_size=1,
        help="A short YAML file with a name and steps. Download a recipe below to see what one looks like.",
    )
    if file is None:
        return None
    with explained():
        return read_upload(file.name, file.getvalue())
    return None


def show_steps(recipe: Recipe) -> None:
    with st.container(border=True):
        st.markdown(f"**{format.plain(recipe.name)}**")
        if recipe.description:
            st.caption(format.plain(recipe.description))
        lines = [f"{number}. {format.plain(step_words(step))}" for number, step in enumerate(recipe.steps, start=1)]
        st.markdown("\n".join(lines))
        if recipe.weights or recipe.data:
            st.caption("The file names a model or data set of its own; those chosen here are used in their place.")
        st.download_button(
            "Download as YAML",
            data=recipe_to_yaml(recipe),
            file_name=f"{recipe.name.lower().replace(' ', '-')}.yaml",
            mime="text/yaml",
            on_click="ignore",
            key="download recipe",
            icon=":material/download:",
            help="To change a number in it and upload it here, or to run it on the command line.",
        )


st.title("Recipes")
model = require_model("Here one press sparse-trains, prunes, fine-tunes, compares and exports a model.")
st.markdown("Runs every step in the background, one job after the other, each on the model that the last one made.")
grid = st.grid(2, min_column_width=340)
left, right = grid.container(), grid.container()
with left, explained(stop=True):
    recipe = choose_recipe()
    if recipe:
        show_steps(recipe)
with right:
    data = choose_data(model, "recipe")
    names = devices()
    wanted = recipe.device if recipe and recipe.device in names else None
    device = st.selectbox(
        "Device",
        list(names),
        index=list(names).index(wanted) if wanted else 0,
        format_func=format.labels_of(names),
        key=f"recipe device {wanted}",
        help="For every step, whatever the recipe says.",
    )
    missing = recipe is not None and data is None and needs_data(recipe)
    agreed = recipe is None or data is None or recipe_goes_together(recipe, model, data)
    if (
        st.button(
            "Run the recipe",
            key="run recipe",
            type="primary",
            icon=":material/play_arrow:",
            disabled=recipe is None or missing or not agreed,
            help=f"Starts with {model.name}; you may leave the page.",
        )
        and recipe is not None
    ):
        with explained(stop=True):
            chain = start_recipe(recipe, model, data, device)
        assert chain.job_id is not None  # the job of its first step
        st.switch_page(PAGES / "jobs.py", query_params={"job": chain.job_id, "model": model.id})
    if recipe is None:
        st.caption("Choose a recipe first.")
    elif missing:
        st.caption("Choose a data set first.")
    elif not agreed:
        st.caption(NOT_YET)

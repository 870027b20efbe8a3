"""Models: open a checkpoint, or choose one of the workspace."""

import pandas as pd
import streamlit as st

from app.family.report import offer_report
from app.frame import session
from app.frame.downloads import offer_file
from app.frame.session import explained, open_model, store
from app.models.adding import PITCH, show_cards, show_steps
from app.models.deleting import offer_deletion
from app.words import format
from engine.base import numbers
from engine.base.tasks import score_heading
from engine.workspace.store import Model


def models_table(models: list[Model]) -> pd.DataFrame:
    by_id = {model.id: model for model in store().models(deleted=True)}
    told = session.figures(models)
    heading = score_heading([told[model.id].metrics for model in models])
    return pd.DataFrame(
        {
            "Name": [model.name for model in models],
            "Parameters": [numbers.count(told[model.id].params) for model in models],
            numbers.GFLOPS_LABEL: [numbers.gflops(told[model.id].gflops) for model in models],
            heading: [format.judged(told[model.id].metrics, heading) for model in models],
            "Measured": [told[model.id].conditions or numbers.UNKNOWN for model in models],
            "Kind": [format.KINDS.get(model.kind, model.kind) for model in models],
            "Made by": [format.made_by(model, by_id.get(model.parent_id or "")) for model in models],
            "Created": [format.ago(model.created_at) for model in models],
        }
    )


def pick_row(ids: list[str]) -> None:
    if rows := st.session_state["models table"].selection.rows:
        open_model(ids[rows[0]])


def show_current(model: Model) -> None:
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{format.plain(model.name)}** is open")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            st.page_link(session.PAGES / "gammas.py", label="Gammas", icon=":material/bar_chart:")
            st.page_link(session.PAGES / "prune.py", label="Prune", icon=":material/content_cut:")
            rename(model)
            offer_file("Download", "model", model.id, help="An ordinary Ultralytics checkpoint.")
            offer_report(store(), model)
            offer_deletion(model)


def rename(model: Model) -> None:
    with st.popover("Rename", icon=":material/edit:"):
        name = st.text_input("New name", value=model.name, key=f"name {model.id}")
        if st.button("Rename", key=f"rename {model.id}", type="primary"):
            with explained():
                store().rename_model(model.id, name)
                st.rerun()


models = store().models()
if not models:
    st.title("Make a YOLO model smaller")
    st.markdown(PITCH)
    show_cards(first_time=True)
    show_steps()
    st.stop()

st.title("Models")

if current := session.current_model():
    show_current(current)
else:
    st.markdown("Choose the model to work on, in the table or on the left.")
ids = [model.id for model in models]
st.dataframe(
    models_table(models),
    hide_index=True,
    key="models table",
    on_select=lambda: pick_row(ids),
    selection_mode="single-row",
    height=min(38 + 35 * len(models), 460),
    column_config={
        # Names are long; the numbers must be in sight where there is little room.
        "Name": st.column_config.TextColumn(width=210),
        "Parameters": st.column_config.TextColumn(width=90),
        numbers.GFLOPS_LABEL: st.column_config.TextColumn(
            width=120, help="As Ultralytics counts them, of every model at the same image size."
        ),
        "mAP50-95": st.column_config.TextColumn(width=80, help="Measured as the column beside it says."),
        "Accuracy": st.column_config.TextColumn(width=150, help="Measured as the column beside it says."),
        "Measured": st.column_config.TextColumn(width=220),
        "Kind": st.column_config.TextColumn(width=85),
        "Made by": st.column_config.TextColumn(width=190),
    },
)
st.subheader("Add a model")
show_cards(first_time=False)

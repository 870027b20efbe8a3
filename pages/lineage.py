"""Lineage: the family tree of the current model, and what made each member of it."""

import streamlit as st

from app.family.lineage import choose_member, family_of, show_member, show_tree, shown_member
from app.frame.session import explained, require_model

st.title("Lineage")
model = require_model("Here you see what a model was made from, by which settings, and what was made of it.")
with explained(stop=True):
    members = family_of(model)
    shown = shown_member(members, model)
st.markdown("Each model stands below what it was made from. Click one to open it.")
grid = st.grid(2, min_column_width=400, gap="medium")
with grid.cell():
    show_tree(members, shown)
with grid.cell(), st.container(border=True):
    choose_member(members, shown)
    with explained():
        show_member(shown)

"""The frame around every page: menu, current model, running job. ``Home.py`` serves it."""

import streamlit as st

from app.frame import session
from app.frame.sidebar import show_sidebar

ICON = str(session.ROOT / "app" / "icon.png")

st.set_page_config(page_title="YOLO Slimming Workbench", page_icon=ICON, layout="wide")

st.logo(ICON, size="large")

MENU = {
    "Model": [
        ("models", "Models", ":material/deployed_code:"),
        ("gammas", "Gammas", ":material/bar_chart:"),
        ("compare", "Compare", ":material/compare_arrows:"),
        ("lineage", "Lineage", ":material/account_tree:"),
    ],
    "Make it smaller": [
        ("recipes", "Recipes", ":material/menu_book:"),
        ("train", "Train", ":material/model_training:"),
        ("prune", "Prune", ":material/content_cut:"),
        ("export", "Export", ":material/ios_share:"),
    ],
    "Work": [
        ("jobs", "Jobs", ":material/list_alt:"),
    ],
}

page = st.navigation(
    {
        section: [
            st.Page(session.PAGES / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "models")
            for name, title, icon in entries
        ]
        for section, entries in MENU.items()
    }
)
with session.explained(stop=True):
    session.store()
if st.get_option("server.address") is None:
    st.warning(
        "The settings of this app were not found, so it may be reachable from other machines: start it from its folder."
    )
session.restore_model()
show_sidebar()
session.show_what_was_told()
page.run()

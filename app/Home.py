"""Entry point: ``streamlit run app/Home.py``. The frame around every page: menu, current model, running job."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st

from app import session
from app.sidebar import show_sidebar

st.set_page_config(page_title="YOLO Slimming Workbench", page_icon=str(ROOT / "app" / "icon.png"), layout="wide")

st.logo(str(ROOT / "app" / "icon.png"), size="large")

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
page.run()

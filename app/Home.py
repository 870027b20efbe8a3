"""Entry point: ``streamlit run app/Home.py``. The app of ``frame/frame.py``, and downloads from disk."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import engine  # noqa: F401, I001 - first, because it says so in a sentence where Python is too old for what follows
import streamlit as st

from app.frame.downloads import routes
from engine.checkpoints.child import warm_up

warm_up()
streamlit_app = st.App(ROOT / "app" / "frame" / "frame.py", routes=routes())

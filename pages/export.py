"""Export: the current model as an ONNX file, checked and compared, then downloaded."""

from typing import Any

import streamlit as st

from app.jobs import start_export
from app.live import show_job
from app.session import explained, require_model, slimming, store
from engine.store import Job, Model

AUTOMATIC = "Automatic"


def choose_options(imgsz: int) -> dict[str, Any]:
    grid = st.grid(3, min_column_width=170)
    size, opset, switches = grid.container(), grid.container(), grid.container()
    options = {
        "imgsz": size.number_input(
            "Image size", 32, 2048, imgsz, 32, key=f"export imgsz {imgsz}", help="Of the file's input, in pixels."
        )
    }
    chosen = opset.selectbox(
        "Opset",
        [AUTOMATIC, *range(20, 11, -1)],
        key="opset",
        help="The ONNX operator set. Choose an older one only if your runtime asks for it.",
    )
    options["opset"] = None if chosen == AUTOMATIC else chosen
    with switches:
        options["dynamic"] = st.toggle("Dynamic shapes", key="dynamic", help="Accept any batch and any image size.")
        options["simplify"] = st.toggle(
            "Simplify", True, key="simplify", help="Folds constants and removes what is not needed."
        )
    return options


def latest_export(model: Model) -> Job | None:
    """Return the job that the page shows: the one in the URL, else the model's last export."""
    exports = [job for job in store().jobs() if job.verb == "export" and job.model_id == model.id]
    wanted = st.query_params.get("job")
    return next((job for job in exports if job.id == wanted), next(iter(exports), None))


st.title("Export")
model = require_model("Here a model becomes an ONNX file, checked and compared with PyTorch.")
with explained(stop=True):
    opened = slimming(model)
st.markdown(
    "Writes an ONNX file, runs the ONNX checker on it, and compares its output with the PyTorch model in ONNX Runtime."
)
options = choose_options(opened.checkpoint.imgsz)
if st.button("Export to ONNX", key="export", type="primary", icon=":material/ios_share:", help="Takes a few seconds."):
    with explained(stop=True):
        st.query_params["job"] = start_export(model, options).id
        st.rerun()
if job := latest_export(model):
    with st.container(border=True):
        show_job(job.id)
else:
    st.caption("No export of this model yet.")

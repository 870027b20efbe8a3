"""What came out of a job: models to open, measurements, an ONNX file to download."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from app import format
from app.session import PAGES, open_model, store
from engine.errors import StorageError
from engine.files import safe_name
from engine.store import Job


def show_result(job: Job) -> None:
    """Show the result of a job, if it has one."""
    if not job.result:
        return
    for model_id in job.result.get("model_ids", ()):
        _offer_model(model_id)
    if job.verb == "val":
        _show_validation(job.result)
    if job.verb == "export":
        show_export(job)


def _offer_model(model_id: str) -> None:
    try:
        model = store().model(model_id)
    except StorageError:
        return  # deleted since
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**Result:** {format.plain(model.name)}")
        if st.button(
            "Open the model",
            key=f"open {model.id}",
            type="primary",
            icon=":material/arrow_forward:",
            help="Makes it the current model.",
        ):
            open_model(model.id)
            st.switch_page(PAGES / "models.py", query_params={"model": model.id})


def _show_validation(result: dict) -> None:
    with st.grid(4, min_column_width=150):
        for name, value in result["metrics"].items():
            st.metric(name, format.score(value), border=True)
    speed = result.get("speed_ms", {}).get("inference")
    measured = f", {speed:.1f} ms a picture" if speed else ""
    st.caption(f"{result['images']} images, {result['instances']} boxes{measured}")
    table = pd.DataFrame({"Class": list(result["per_class"]), "mAP50-95": list(result["per_class"].values())})
    st.dataframe(
        table,
        hide_index=True,
        column_config={"mAP50-95": st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1)},
        key="per class",
    )


def show_export(job: Job) -> None:
    """Show the checks that an exported file has passed, and offer it for download."""
    result, path = job.result or {}, Path((job.result or {}).get("onnx", ""))
    grid = st.grid(4, min_column_width=150)
    grid.metric("ONNX checker", "Passed", help="onnx.checker, with full shape inference.", border=True)
    grid.metric(
        "Largest difference",
        f"{result['max_abs_difference']:.1e}",
        help="Between ONNX Runtime and PyTorch, over all outputs: pixels for boxes, probability for scores.",
        border=True,
    )
    grid.metric("File size", f"{result['size_mb']:.1f} MB", border=True)
    grid.metric("Opset", str(result["opset"]), help="The ONNX operator set of the file.", border=True)
    height, width = result["imgsz"]
    inputs = "any batch and image size" if result["dynamic"] else f"one image of {height} × {width} px"
    st.caption(
        f"Takes {inputs}. Compared on {result['images_compared']} images: the largest difference is "
        f"{result['max_rel_difference']:.1e} of the output's magnitude, and {result['tolerance']:.0e} is accepted."
    )
    if not path.is_file():
        st.info("The exported file is gone; export the model again.")
        return
    st.download_button(
        "Download ONNX",
        data=lambda: path.open("rb"),
        file_name=f"{safe_name(job.title.removeprefix('Export '))}.onnx",
        # Anything else is compressed on its way, which takes longer than the download itself.
        mime="application/zip",
        on_click="ignore",
        type="primary",
        icon=":material/download:",
        key=f"download {job.id}",
        help="One file that ONNX Runtime, OpenVINO or TensorRT can read.",
    )

"""What came out of a job: models to open, measurements, an ONNX file to download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.export import results as export_results
from app.frame.session import PAGES, open_model, store
from app.jobs import measured_views
from app.words import format
from engine.base import numbers
from engine.base.errors import StorageError
from engine.base.imgsz import pixels
from engine.base.tasks import SHOWN, TASKS, main_metric, metric_help, metric_label, task_of
from engine.latency.text import measured_lines
from engine.settings.results import (
    AccuracyResult,
    CompareResult,
    Comparison,
    ExportResult,
    LatencyResult,
    MeasuredRole,
    Metrics,
    PruneResult,
    Result,
    SensitivityResult,
    TrainingResult,
    ValResult,
)
from engine.workspace.store import Job

_TOLD = {
    "better": (st.success, ":material/trending_up:"),
    "same": (st.info, ":material/drag_handle:"),
    "worse": (st.warning, ":material/trending_down:"),
}
ROLES = {"reference": "Dense original", "parent": "Before fine-tuning", "child": "After fine-tuning"}
"Role in the comparison of a fine-tuning -> what a person calls it, in the order of the story."


def show_result(job: Job) -> None:
    """Show the result of a job, if it has one."""
    result = job.result
    if result is None:
        return
    for model_id in dict.fromkeys(job.model_ids):
        _offer_model(model_id, (result.known or {}).get(model_id, ""), primary=job.state == "done")
    match result:
        case TrainingResult():
            show_verdicts(result)
            if result.comparison:
                show_finetuning(result.comparison, _known_names(result))
        case CompareResult():
            show_comparison(result, _known_names(result))
        case ValResult():
            _show_validation(result)
        case ExportResult():
            export_results.show_export(job, result)
        case PruneResult():
            for line in measured_lines(result):
                st.caption(format.plain(line))
        case LatencyResult():
            measured_views.show_latency(result, _known_names(result))
        case AccuracyResult():
            measured_views.show_accuracy(job, result)
        case SensitivityResult():
            measured_views.show_sensitivity(job, result)


def _offer_model(model_id: str, known: str, *, primary: bool) -> None:
    try:
        model = store().model(model_id)
    except StorageError:
        return  # deleted since
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**Result:** {format.plain(model.name)}")
        if known:
            st.caption(format.plain(known))
        if st.button(
            "Open the model",
            key=f"open {model.id}",
            type="primary" if primary else "secondary",
            icon=":material/arrow_forward:",
            help="Makes it the current model.",
        ):
            open_model(model.id)
            st.switch_page(PAGES / "models.py", query_params={"model": model.id})


def _known_names(result: Result) -> dict[str, str]:
    """Return path -> name of the workspace's models, those in the job's own folder and deleted ones included."""
    models = {model.id: model for model in store().models(deleted=True)}
    registered = [artefact.path for artefact in result.artefacts if artefact.is_model]
    made = zip(registered, result.model_ids or (), strict=False)
    own = {path: models[model_id].name for path, model_id in made if model_id in models}
    return {**{str(model.path): model.name for model in models.values()}, **own}


def show_verdicts(result: TrainingResult) -> None:
    """Say in words, and in their colour, how a model stands against what it was made from."""
    if result.kept_start and not result.sparsity:  # what a sparse run worked towards is its last epoch
        st.warning(
            "No epoch was better than the model it started from, so that model is handed back, unchanged. The last "
            "epoch lies beside it as last.pt.",
            icon=":material/undo:",
        )
    for verdict in result.verdicts:
        show, icon = _TOLD[verdict.judgement]
        show(format.plain(verdict.sentence), icon=icon)


def show_finetuning(compared: Sequence[MeasuredRole], names: dict[str, str]) -> None:
    """Show a fine-tuned model beside the one it started from and the dense original."""
    table = finetuning_table(compared, names)
    st.markdown("**Before and after fine-tuning**")
    _show_scores(table, "finetuning compared")


def finetuning_table(compared: Sequence[MeasuredRole], names: dict[str, str]) -> pd.DataFrame:
    """Return one line for each role, the dense original first.

    Args:
        compared: The models that were measured.
        names: Path of a checkpoint -> its name in the workspace.
    """
    rows = {row.role: row for row in compared}
    ordered = [rows[role] for role in ROLES if role in rows]
    roles = {"": [ROLES[row.role] for row in ordered]}
    facts = {
        "Parameters": [numbers.count(row.params) for row in ordered],
        "Model": [names.get(row.weights) or row.name or Path(row.weights).name for row in ordered],
    }
    return pd.DataFrame({**roles, **_metric_columns([row.metrics for row in ordered]), **facts})


def show_comparison(result: Comparison, names: dict[str, str]) -> None:
    """Show models side by side: what they cost, how accurate they are, and what changed against the first."""
    st.markdown("**Side by side**")
    _show_scores(comparison_table(result, names), "models compared")
    st.caption(
        f"All on the {result.split} images at {result.imgsz} px. Changes are against "
        f"{format.plain(_name_of(result.reference, names))}."
    )
    if any(model.per_class for model in result.models):
        with st.expander("By class", icon=":material/category:"):
            _show_scores(class_table(result, names), "classes compared")


def comparison_table(result: Comparison, names: dict[str, str]) -> pd.DataFrame:
    """Return one line for each model: size, cost, accuracy, and the change of the metric that judges."""
    models, gflops = result.models, f"GFLOPs at {pixels(result.gflops_imgsz)}"
    metric = next(filter(None, (main_metric(model.metrics) for model in models)), "mAP50-95")
    columns = {
        "Model": [names.get(model.weights) or model.name for model in models],
        **_metric_columns([model.metrics for model in models]),
        "Change": [numbers.score_change(model.change.get(metric)) for model in models],
        "Parameters": [numbers.count(model.params) for model in models],
        gflops: [numbers.gflops(model.gflops) for model in models],
        "MB": [numbers.number_mb(model.size_mb) for model in models],
    }
    told = ("Model", metric_label(metric), "Change", "Parameters", gflops, "MB")
    return pd.DataFrame({name: columns[name] for name in dict.fromkeys((*told, *columns)) if name in columns})


def class_table(result: Comparison, names: dict[str, str]) -> pd.DataFrame:
    """Return one line for each class and one column of its score for each model."""
    models = result.models
    classes = list(dict.fromkeys(name for model in models for name in model.per_class))
    columns = _distinct([names.get(model.weights) or model.name for model in models])
    scores = {
        column: [model.per_class.get(name) for name in classes] for column, model in zip(columns, models, strict=True)
    }
    return pd.DataFrame({"Class": classes, **scores})


def _metric_columns(measured: Sequence[Metrics]) -> dict[str, list[float | None]]:
    """Return metric -> its value for each model, the one that decides first."""
    names = dict.fromkeys((*SHOWN, *(name for metrics in measured for name in metrics)))
    columns = {metric_label(name): [metrics.get(name) for metrics in measured] for name in names}
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _name_of(path: str, names: dict[str, str]) -> str:
    return names.get(path) or Path(path).name


def _distinct(names: list[str]) -> list[str]:
    """Return names of columns, numbered where several models share one."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _show_scores(table: pd.DataFrame, key: str) -> None:
    numbers = [name for name in table if pd.api.types.is_numeric_dtype(table[name])]
    config: dict[str, Any] = {name: st.column_config.NumberColumn(format="%.3f") for name in numbers}
    # Names are long; the numbers matter more where there is little room.
    config |= {name: st.column_config.TextColumn(width=310) for name in table if name == "Model"}
    st.dataframe(table, hide_index=True, column_config=config, key=key)


def _show_validation(result: ValResult) -> None:
    with st.grid(4, min_column_width=180):
        for name, value in result.metrics.items():
            st.metric(metric_label(name), numbers.score(value), help=metric_help(name), border=True)
    speed = result.speed_ms.get("inference")
    measured = f", {numbers.milliseconds(speed)} an image" if speed else ""
    task = task_of(result.metrics) or TASKS["detect"]
    seen = f", {result.instances} {task.seen}" if task.boxes else ""
    st.caption(f"{result.images} images{seen}{measured}")
    if not result.per_class:
        return
    table = pd.DataFrame({"Class": list(result.per_class), task.per_class: list(result.per_class.values())})
    st.dataframe(
        table,
        hide_index=True,
        column_config={task.per_class: st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1)},
        key="per class",
    )

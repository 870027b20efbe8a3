"""A comparison on the page: the table, accuracy against cost, and classes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.charts import CONFIG
from app.charts import comparison as charts
from app.comparison import tables
from app.comparison.side_by_side import SideBySide
from app.comparison.tables import COSTS, LATENCY, class_changes, class_table, comparison_table, reference_row
from app.frame.session import dark
from app.words import format
from engine.base.imgsz import pixels
from engine.base.tasks import TASKS, metric_label
from engine.validation.pareto import pareto_front

_MOST_LINES = 16
"Of the table, before it scrolls."
_NOTHING_MEASURED = "No model was measured under these conditions yet."
_ONE_MODEL = "Choose a second model to hold this one against."


def show_table(found: SideBySide) -> None:
    """Show what is known of every model, with its changes, and offer it as CSV."""
    table = comparison_table(found.comparison, found.names, found.latency)
    reference = reference_row(found.comparison)
    config: dict[str, Any] = {
        name: st.column_config.NumberColumn(help=tables.HELP.get(name)) for name in table.columns[1:]
    }
    # Names are long; the numbers matter more where there is little room.
    config["Model"] = st.column_config.TextColumn(width=240, pinned=True)
    st.dataframe(
        tables.with_changes(table, reference, dark=dark()),
        hide_index=True,
        column_config=config,
        key="compare table",
        placeholder="–",
        height=min(38 + 35 * len(table), 38 + 35 * _MOST_LINES),
    )
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(_conditions_sentence(found), width="content")
        _offer_csv("comparison", tables.table_csv(table, reference))


def show_scatter(found: SideBySide) -> None:
    """Draw accuracy against a cost that the person chooses."""
    table = comparison_table(found.comparison, found.names, found.latency)
    costs = [name for name in (*COSTS, LATENCY) if name in table and name != "MB"]
    cost = st.segmented_control(
        "Cost",
        costs,
        default=costs[0],
        required=True,
        key=f"compare cost {len(costs)}",
        help="What the accuracy is held against. Latency can be chosen once it was measured for all of the models.",
    )
    score = metric_label(TASKS[found.comparison.task].metric)
    measured = table.dropna(subset=[score, cost])
    if measured.empty:
        st.caption(_NOTHING_MEASURED)
        return
    points = [measured[name].tolist() for name in ("Model", cost, score)]
    figure = charts.accuracy_against_cost(*points, cost=cost, score=score, dark=dark())
    st.plotly_chart(figure, config=CONFIG, key="compare scatter")
    st.caption(_ONE_MODEL if len(found.models) == 1 else _front_sentence(*points))


def show_by_class(found: SideBySide) -> None:
    """Draw how the score of every class changed, with the numbers below, as CSV too."""
    task = TASKS[found.comparison.task]
    if not task.per_class:
        st.caption(f"A model for {task.words} knows no classes, so there is nothing to tell by class.")
        return
    table = class_table(found.comparison, found.names)
    if table.empty:
        st.caption(_NOTHING_MEASURED)
        return
    changes = class_changes(found.comparison, found.names)
    if changes:
        st.plotly_chart(
            charts.class_bars(changes, score=task.per_class, dark=dark()),
            config=CONFIG,
            key="compare classes",
        )
        st.caption(_class_sentence(found, len(table), len(changes)))
    else:
        waiting = "Changes are shown once the reference and another model were measured."
        st.caption(_ONE_MODEL if len(found.models) == 1 else waiting)
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in table.columns[1:]}
    st.dataframe(table, hide_index=True, column_config=config, key="class table", height=min(38 + 35 * len(table), 320))
    _offer_csv("classes", table.to_csv(index=False))


def _front_sentence(names: list[str], costs: list[float], scores: list[float]) -> str:
    front = pareto_front(costs, scores)
    if len(names) == 1:
        return "Only one of the models was measured under these conditions."
    if len(front) == 1:
        return f"No other model here is cheaper or more accurate than {format.plain(names[front[0]])}."
    said = "Dotted: the Pareto front. No other model here is both cheaper and more accurate than one on it."
    return f"{said} Point at another to see its name." if len(names) > charts.MOST_MODELS else said


def _class_sentence(found: SideBySide, classes: int, models: int) -> str:
    said = [f"Against {format.plain(found.names[found.comparison.reference])}."]
    if classes > charts.MOST_CLASSES:
        said.append(f"The {charts.MOST_CLASSES} of {classes} classes that changed most.")
    if models > charts.MOST_MODELS:
        said.append(f"The first {charts.MOST_MODELS} of {models} models; the table has all of them.")
    return " ".join(said)


def _conditions_sentence(found: SideBySide) -> str:
    comparison = found.comparison
    said = [f"Changes are against {format.plain(found.names[comparison.reference])}."]
    gflops = f"GFLOPs at {pixels(comparison.gflops_imgsz)}."
    if comparison.data:
        gflops = f"Accuracy on the {comparison.split} images at {comparison.imgsz} px; {gflops}"
    said.append(gflops)
    if found.threads:
        threads = f"{found.threads} thread{'' if found.threads == 1 else 's'}"
        said.append(f"Latency at {pixels(comparison.imgsz)} in ONNX Runtime, {threads}.")
    return " ".join(said)


def _offer_csv(name: str, text: str) -> None:
    st.download_button(
        "Download CSV",
        data=text,
        file_name=f"{name}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key=f"csv {name}",
        help="The numbers of this table, for a spreadsheet.",
    )

"""A comparison on the page: the table, accuracy against cost, and classes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import comparing_charts, comparing_tables, format
from app.charts import CONFIG
from app.comparing import SideBySide
from app.comparing_tables import COSTS, LATENCY, class_changes, class_table, comparison_table, reference_row
from app.session import dark

_SCORE = "mAP50-95"


def show_table(found: SideBySide) -> None:
    """Show what is known of every model, with its changes, and offer it as CSV."""
    table = comparison_table(found.comparison, found.names, found.latency)
    reference = reference_row(found.comparison)
    config: dict[str, Any] = {
        name: st.column_config.NumberColumn(help=comparing_tables.HELP.get(name)) for name in table.columns[1:]
    }
    # Names are long; the numbers matter more where there is little room.
    config["Model"] = st.column_config.TextColumn(width=200, pinned=True)
    st.dataframe(
        comparing_tables.with_changes(table, reference, dark=dark()),
        hide_index=True,
        column_config=config,
        key="compare table",
        placeholder="–",
    )
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(_conditions_sentence(found), width="content")
        _offer_csv("comparison", comparing_tables.table_csv(table, reference))


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
    measured = table.dropna(subset=[_SCORE, cost])
    if measured.empty:
        st.caption("No model was measured under these conditions yet.")
        return
    figure = comparing_charts.accuracy_against_cost(
        measured["Model"].tolist(), measured[cost].tolist(), measured[_SCORE].tolist(),
        cost=cost, score=_SCORE, dark=dark(),
    )  # fmt: skip
    st.plotly_chart(figure, config=CONFIG, key="compare scatter")
    st.caption("Dotted: the Pareto front. No other model here is both cheaper and more accurate than one on it.")


def show_by_class(found: SideBySide) -> None:
    """Draw how the AP of every class changed, with the numbers below, as CSV too."""
    table = class_table(found.comparison, found.names)
    if table.empty:
        st.caption("No model was measured under these conditions yet.")
        return
    changes = class_changes(found.comparison, found.names)
    if changes:
        st.plotly_chart(comparing_charts.class_bars(changes, dark=dark()), config=CONFIG, key="compare classes")
        st.caption(_class_sentence(found, len(table)))
    else:
        st.caption("Changes are shown once the reference and another model were measured.")
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in table.columns[1:]}
    st.dataframe(table, hide_index=True, column_config=config, key="class table", height=min(38 + 35 * len(table), 320))
    _offer_csv("classes", table.to_csv(index=False))


def _class_sentence(found: SideBySide, classes: int) -> str:
    against = f"Against {format.plain(found.names[found.comparison.reference])}."
    most = comparing_charts.MOST_CLASSES
    return f"{against} The {most} of {classes} classes that changed most." if classes > most else against


def _conditions_sentence(found: SideBySide) -> str:
    comparison = found.comparison
    against = f"Changes are against {format.plain(found.names[comparison.reference])}."
    if not comparison.data:
        return f"{against} GFLOPs at {comparison.gflops_imgsz} px."
    return (
        f"{against} Accuracy on the {comparison.split} images at {comparison.imgsz} px; "
        f"GFLOPs at {comparison.gflops_imgsz} px."
    )


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

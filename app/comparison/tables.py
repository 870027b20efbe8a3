"""A comparison as tables to look at and to download. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from app.charts.comparison import shortened
from app.charts.palette import palette
from engine.base import numbers
from engine.base.tasks import METRICS, TASKS, metric_label
from engine.settings.results import Comparison

COSTS = {"Parameters": "params", "GFLOPs": "gflops", "MB": "size_mb"}
"Column -> field of a compared model. Less is better, and changes are relative."
LATENCY = "Latency, ms"
_ERRORS = frozenset(metric.label for metric in METRICS.values() if not metric.larger_is_better)
"Columns of metrics where less is better."
HELP = {
    **{metric.label: metric.help for metric in METRICS.values()},
    "GFLOPs": "At 640 px, as Ultralytics counts.",
    "MB": "Size of the file; 1 MB is 1,000,000 bytes.",
    LATENCY: "Median of one image in ONNX Runtime on this machine's processor, the models taken in turns.",
}


def comparison_table(comparison: Comparison, names: Mapping[str, str], latency: Mapping[str, float]) -> pd.DataFrame:
    """Return one line for each model, numbers as they are; what was not measured is missing.

    Args:
        comparison: What is known.
        names: Path of a checkpoint -> the model's name.
        latency: Path -> milliseconds an image, empty where it was not measured.
    """
    models = comparison.models
    names_of = dict.fromkeys((*TASKS[comparison.task].metrics, *(name for model in models for name in model.metrics)))
    metrics = {metric_label(name): name for name in names_of}
    columns: dict[str, list[Any]] = {"Model": [names.get(model.weights, model.name) for model in models]}
    columns |= {name: [model.metrics.get(metric) for model in models] for name, metric in metrics.items()}
    columns |= {name: [getattr(model, field) for model in models] for name, field in COSTS.items()}
    if latency:
        columns[LATENCY] = [latency.get(model.weights) for model in models]
    table = pd.DataFrame(columns)
    return table.astype({name: "float64" for name in table if name not in ("Model", "Parameters")})


def reference_row(comparison: Comparison) -> int:
    """Return which line of the tables is the reference."""
    return [model.weights for model in comparison.models].index(comparison.reference)


def with_changes(table: pd.DataFrame, reference: int, *, dark: bool) -> Styler:
    """Return the table with the change against one line in each cell: green where it is better, red where worse.

    A change follows from the value alone, so the cells stay numbers that sort as numbers.
    """
    bases = {name: table[name].iloc[reference] for name in table.columns[1:]}
    cells = {name: _cell(name, base) for name, base in bases.items()}
    styler = table.style.format({"Model": lambda name: shortened(name), **cells})
    for name, base in bases.items():
        styler = styler.map(_colour(name, base, dark), subset=[name])
    return styler


def table_csv(table: pd.DataFrame, reference: int) -> str:
    """Return the table with a column for every change: relative for costs, absolute for metrics."""
    told: dict[str, Any] = {"Model": table["Model"], "Reference": [row == reference for row in range(len(table))]}
    for name in table.columns[1:]:
        base = table[name].iloc[reference]
        told[name] = table[name]
        told[f"{name} change"] = [_change(name, value, base) for value in table[name]]
    return pd.DataFrame(told).to_csv(index=False)


def class_table(comparison: Comparison, names: Mapping[str, str]) -> pd.DataFrame:
    """Return one line for each class: the score of each model, as ``Task.per_class`` calls it."""
    models = comparison.models
    classes = list(dict.fromkeys(name for model in models for name in model.per_class))
    columns = {
        names.get(model.weights, model.name): [model.per_class.get(name) for name in classes] for model in models
    }
    return pd.DataFrame({"Class": classes, **columns})


def class_changes(comparison: Comparison, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return name of a model -> class -> change of its score against the reference, without the reference itself."""
    return {
        names.get(model.weights, model.name): model.change_per_class
        for model in comparison.models
        if model.weights != comparison.reference and model.change_per_class
    }


def _is_cost(name: str) -> bool:
    return name in COSTS or name == LATENCY


def _change(name: str, value: float, base: float) -> float | None:
    if pd.isna(value) or pd.isna(base) or (_is_cost(name) and base == 0):
        return None
    return float(value / base - 1 if _is_cost(name) else value - base)


def _value(name: str, value: float) -> str:
    told = {"Parameters": numbers.count, "GFLOPs": numbers.gflops, "MB": numbers.number_mb, LATENCY: numbers.number_ms}
    return told.get(name, numbers.score)(value)


def _cell(name: str, base: float) -> Callable[[float], str]:
    def text(value: float) -> str:
        change = _change(name, value, base)
        if pd.isna(value):
            return numbers.UNKNOWN
        if not change or abs(change) < numbers.NO_CHANGE:
            return _value(name, value)
        told = numbers.percent_change(change) if _is_cost(name) else numbers.score_change(change)
        return f"{_value(name, value)} ({told})"

    return text


def _colour(name: str, base: float, dark: bool) -> Callable[[float], str]:
    colours = palette(dark)

    def style(value: float) -> str:
        change = _change(name, value, base)
        if change is None or abs(change) < numbers.NO_CHANGE:
            return ""
        better = (change < 0) == (_is_cost(name) or name in _ERRORS)
        return f"color: {colours.better if better else colours.worse}"

    return style

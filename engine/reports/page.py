"""A report as HTML: what each section shows, for ``templates/report.html`` to lay out; there is no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.base import numbers
from engine.base.tasks import TASKS, metric_label, score_difference, score_heading
from engine.reports import svg
from engine.reports.gathering import Facts, ReportedModel, ReportedStudy, plain_settings

_MADE_BY = {
    "import": "imported",
    "train": "trained",
    "sparsify": "sparse training",
    "prune": "pruned",
    "finetune": "fine-tuned",
}
_Cell = tuple[str, str]
"A value, and how it changed."


def report_html(facts: Facts) -> str:
    """Return the report as one HTML document. Every word that comes from a file or a person is escaped."""
    return _templates().get_template("report.html").render(
        facts=facts,
        tiles=_tiles(facts),
        titles=["Model", "Parameters", numbers.GFLOPS_LABEL, "MB", *map(metric_label, _shown(facts))],
        rows=[(member, _figures(member, facts)) for member in facts.lineage],
        notes=[_about_changes(facts), _about_scores(facts)],
        origins=[(member, _origin(member), plain_settings(member.made)) for member in facts.lineage],
        gammas=_gammas(facts),
        channels=_channels(facts),
        curve=_curve(facts),
        heat=_sensitivity(facts),
        training=[(member, charts) for member in facts.lineage if (charts := _training(member, facts))],
    )  # fmt: skip


def _templates() -> Environment:
    loader = PackageLoader(__package__)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"base64": _base64, "moment": "{:%d %b %Y, %H:%M} UTC".format, "percent": numbers.percent}
    return found


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """Return (title, value, note) of what the head tells."""
    model, first = facts.model, facts.lineage[0]
    tiles = [
        ("Parameters", numbers.exact(model.params), _against(first.params, model.params)),
        (numbers.GFLOPS_LABEL, numbers.gflops(model.gflops), _against(first.gflops, model.gflops)),
        ("File", numbers.megabytes(model.size_mb), _against(first.size_mb, model.size_mb)),
    ]
    metric = TASKS[facts.task].metric if facts.task in TASKS else ""
    if metric in model.metrics:
        note = _score_change(model, first, metric) if model.shared else model.conditions
        tiles.append((metric_label(metric), numbers.score(model.metrics[metric]), note))
    return tiles


def _figures(member: ReportedModel, facts: Facts) -> list[_Cell]:
    first = facts.lineage[0]
    return [
        _figure(member.params, first.params, numbers.exact),
        _figure(member.gflops, first.gflops, numbers.gflops),
        _figure(member.size_mb, first.size_mb, numbers.number_mb),
        *(_score(member, first, name) for name in _shown(facts)),
    ]


def _about_changes(facts: Facts) -> str:
    unmeasured = any(name not in member.metrics for member in facts.lineage for name in _shown(facts))
    said = ["Changes are against the first model."] if len(facts.lineage) > 1 else []
    said += ["A dash means that the accuracy was not measured on a whole validation split."] if unmeasured else []
    return " ".join(said)


def _about_scores(facts: Facts) -> str:
    """Say what accuracy was measured with, and for whom otherwise."""
    shared = next((member.conditions for member in facts.lineage if member.shared), "")
    said = [f"Accuracy: {shared}."] if shared else []
    said += [
        f"* {member.name}: {member.conditions}; not held against the others."
        for member in facts.lineage
        if member.metrics and not member.shared
    ]
    return " ".join(said)


def _origin(member: ReportedModel) -> str:
    verb = str(member.made.get("verb") or member.kind)
    return _MADE_BY.get(verb, verb) or "origin unknown"


def _gammas(facts: Facts) -> dict[str, Any]:
    model, summary = facts.model, facts.summary
    shown = [member for member in facts.lineage if member.layers][-3:]
    over = {  # names may repeat
        f"{member.name}{' ' * at}": np.concatenate([layer.values for layer in member.layers])
        for at, member in enumerate(shown)
    }
    # Whether it was sparse-trained is a question to a whole model; pruning takes the small gammas away.
    cut = model.kind in ("pruned", "finetuned")
    median, p10, p90 = map(numbers.gamma, (summary.median, summary.p10, summary.p90))
    return {
        "said": f"Median {median}, 10th percentile {p10}, 90th {p90}." if cut else summary.verdict,
        "histogram": svg.histogram(over, "|gamma|"),
        "bands": svg.bands([(layer.name, layer.values) for layer in model.layers], "|gamma|"),
    }


def _channels(facts: Facts) -> dict[str, Any]:
    before = _before(facts)
    widths = {layer.name: len(layer.values) for layer in (before or facts.model).layers}
    layers = [(layer.name, widths[layer.name], len(layer.values)) for layer in facts.model.layers]
    said = f"Grey: {before.name}. Coloured: this model." if before else "Nothing that it was pruned from is known."
    return {"said": said, "layers": layers, "chart": svg.channel_bars(layers)}


def _curve(facts: Facts) -> dict[str, Any] | None:
    if not facts.curve:
        return None
    study = facts.curve.study
    pairs = sorted((point["ratio_achieved"], point["metrics"]) for point in study.cuts())
    pairs = [(0.0, dense), *pairs] if (dense := study.metrics("dense")) else pairs
    series = {metric_label(name): [(ratio, metrics[name]) for ratio, metrics in pairs] for name in _shown(facts)}
    chosen = _own_ratio(facts)
    mark = " The dashed line is where this model was pruned." if chosen is not None else ""
    return {
        "about": _about(facts.curve, f"Directly after the cut, before fine-tuning.{mark}"),
        "chart": svg.line_chart(series, "Prune ratio", _axis(facts), mark=chosen, top=1.0),
    }


def _sensitivity(facts: Facts) -> dict[str, Any] | None:
    """Return the table of blocks; each of its cells is (strength of the colour in percent, change)."""
    if facts.sensitivity is None or not (repaired := facts.sensitivity.study.metrics("repaired")):
        return None
    study = facts.sensitivity.study
    cut = {
        (at["block"], at["share"]): change
        for at in study.cuts()
        if (change := score_difference(at["metrics"], repaired)) is not None
    }
    shares = sorted({share for _, share in cut})
    worst = max([0.02, *(-change for change in cut.values())])
    rows = [
        (f"{block['block']} {block['kind']}", [_heat(cut.get((block["block"], share)), worst) for share in shares])
        for block in study.blocks
    ]
    about = _about(facts.sensitivity, f"Change of {score_heading([repaired])} with one block alone pruned.")
    return {"about": about, "shares": shares, "rows": rows}


def _training(member: ReportedModel, facts: Facts) -> list[svg.Chart]:
    """Return accuracy and losses by epoch, nothing for a model whose training is not known."""
    boxes = "(B)" if facts.task in TASKS and TASKS[facts.task].boxes else ""
    scores = {metric_label(name): _column(member, f"metrics/{name}{boxes}") for name in _shown(facts)}
    losses = {name: _column(member, name) for name in member.training if name.endswith("_loss")}
    scores, losses = ({name: points for name, points in group.items() if points} for group in (scores, losses))
    if len(member.training.get("epoch", [])) < 2 or not scores:
        return []
    charts = [svg.line_chart(scores, "Epoch", _axis(facts), top=1.0)]
    return [*charts, svg.line_chart(dict(list(losses.items())[:4]), "Epoch", "Loss")] if losses else charts


def _before(facts: Facts) -> ReportedModel | None:
    """Return the oldest ancestor that has all layers of the model: what it was cut from, whole."""
    names = {layer.name for layer in facts.model.layers}
    ancestors = facts.lineage[:-1]
    return next((member for member in ancestors if names <= {layer.name for layer in member.layers}), None)


def _shown(facts: Facts) -> tuple[str, ...]:
    """Return the two metrics that tell most of the task, the one that judges last; none for one that is not trained."""
    return tuple(reversed(TASKS[facts.task].metrics[:2])) if facts.task in TASKS else ()


def _axis(facts: Facts) -> str:
    """Return what the axis of the task's metrics is called."""
    task = TASKS[facts.task]
    return "mAP" if task.boxes else metric_label(task.metric)


def _own_ratio(facts: Facts) -> float | None:
    """Return the ratio at which the model was cut from the one that the curve belongs to."""
    ratios = [member.made.get("ratio_achieved") for member in facts.lineage if member.made.get("verb") == "prune"]
    measured = facts.curve.of if facts.curve else None
    belongs = measured in [member.name for member in facts.lineage[:-1]]
    return float(ratios[-1]) if belongs and len(ratios) == 1 and ratios[-1] else None


def _about(measured: ReportedStudy, words: str) -> str:
    study = measured.study
    return f"{words} Measured for {measured.of} on {study.images} images of {Path(study.data).name}."


def _column(member: ReportedModel, name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) points of one column of a training's table, without what is no number."""
    values: Sequence[Any] = member.training.get(name, [])
    pairs = zip(member.training.get("epoch", []), values, strict=False)
    return [(float(x), float(y)) for x, y in pairs if isinstance(y, (int, float)) and math.isfinite(y)]


def _heat(change: float | None, worst: float) -> tuple[int, str]:
    """Return how strongly a change is coloured, in percent, and the change in words; empty where none was measured."""
    if change is None:
        return 0, ""
    return round(80 * min(max(-change, 0.0) / worst, 1.0)), numbers.score_change(change)


def _against(before: float | None, after: float | None) -> str:
    change = numbers.relative(before, after)
    return "" if change is None or abs(change) < numbers.NO_CHANGE else numbers.percent_change(change)


def _figure(value: float | None, before: float | None, told: Callable[[float], str]) -> _Cell:
    return (numbers.UNKNOWN, "") if value is None else (told(value), _against(before, value))


def _score(member: ReportedModel, first: ReportedModel, name: str) -> _Cell:
    if name not in member.metrics:
        return numbers.UNKNOWN, ""
    mark = "" if member.shared else " *"
    return numbers.score(member.metrics[name]) + mark, _score_change(member, first, name)


def _score_change(member: ReportedModel, first: ReportedModel, name: str) -> str:
    """Return the change of an accuracy, empty for the first and where the two were not measured alike."""
    if member is first or not (member.shared and first.shared and name in member.metrics and name in first.metrics):
        return ""
    return numbers.score_change(member.metrics[name] - first.metrics[name])

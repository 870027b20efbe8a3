"""A report as HTML. Every word that comes from a file or a person is escaped; there is no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from engine.base import numbers
from engine.base.tasks import TASKS, metric_label, score_difference, score_heading
from engine.reports import svg
from engine.reports.gather import Facts, ReportedModel, ReportedStudy, plain_settings
from engine.reports.style import STYLE

# Nothing but inline styles and embedded pictures may be used, whatever a name manages to smuggle in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_MADE_BY = {
    "import": "imported",
    "train": "trained",
    "sparsify": "sparse training",
    "prune": "pruned",
    "finetune": "fine-tuned",
}


def report_html(facts: Facts) -> str:
    """Return the report as one HTML document."""
    sections = (
        ("Before and after", _models_table(facts)),
        ("Lineage and settings", _lineage(facts)),
        ("Gammas", _gammas(facts)),
        ("Channels of each layer", _channels(facts)),
        ("Accuracy against ratio", _curve(facts)),
        ("Sensitivity of blocks", _sensitivity(facts)),
        ("Training", _training(facts)),
        ("Sample predictions", _samples(facts)),
    )
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    title = escape(facts.model.name)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><main>{_head(facts)}{body}</main></body></html>\n"
    )


def _head(facts: Facts) -> str:
    model, first = facts.model, facts.lineage[0]
    names = ", ".join(facts.names.values())
    classes = f"{len(facts.names)} classes: {names}" if len(names) <= 200 else f"{len(facts.names)} classes"
    tiles = [
        ("Parameters", numbers.exact(model.params), _against(first.params, model.params)),
        (numbers.GFLOPS_LABEL, numbers.gflops(model.gflops), _against(first.gflops, model.gflops)),
        ("File", numbers.megabytes(model.size_mb), _against(first.size_mb, model.size_mb)),
    ]
    metric = TASKS[facts.task].metric if facts.task in TASKS else ""
    if metric in model.metrics:
        change = "" if model is first else _score_change(model, first, metric)
        value = numbers.score(model.metrics[metric])
        tiles.append((metric_label(metric), value, change if model.shared else escape(model.conditions)))
    shown = "".join(f'<div class="tile"><span>{label}</span><b>{value}</b><span>{note or "&nbsp;"}</span></div>'
                    for label, value, note in tiles)  # fmt: skip
    return (
        f"<h1>{escape(model.name)}</h1>"
        f'<p class="soft">{escape(facts.task)}, trained at {facts.imgsz} px, {escape(classes)}. '
        f"Report of {facts.written:%d %b %Y, %H:%M} UTC.</p>"
        f'<div class="tiles">{shown}</div><p class="soft">SHA-256 {escape(model.digest)}</p>'
    )


def _models_table(facts: Facts) -> str:
    first = facts.lineage[0]
    scores = _shown(facts)
    columns = ("Parameters", numbers.GFLOPS_LABEL, "MB", *map(metric_label, scores))
    rows = []
    for member in facts.lineage:
        cells = [
            _cell(member.params, first.params, numbers.exact),
            _cell(member.gflops, first.gflops, numbers.gflops),
            _cell(member.size_mb, first.size_mb, numbers.number_mb),
            *(_score(member, first, name) for name in scores),
        ]
        this = ' class="this"' if member is facts.model else ""
        rows.append(f"<tr{this}><td>{escape(member.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Model", *columns))
    note = "Changes are against the first model." if len(facts.lineage) > 1 else ""
    unmeasured = any(name not in member.metrics for member in facts.lineage for name in scores)
    missing = " A dash means that the accuracy was not measured on a whole validation split." if unmeasured else ""
    return (
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div><p class="soft">{note}{missing}</p>'
        f"{_score_conditions(facts)}"
    )


def _lineage(facts: Facts) -> str:
    parts = []
    for member in facts.lineage:
        verb = str(member.made.get("verb") or member.kind)
        when = f", {member.created:%d %b %Y, %H:%M} UTC" if member.created else ""
        settings = plain_settings(member.made)
        rows = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in settings.items())
        origin = escape(_MADE_BY.get(verb, verb) or "origin unknown")
        parts.append(
            f'<h3>{escape(member.name)}</h3><p class="soft">{origin}{when}</p>'
            + (f'<table class="settings">{rows}</table>' if rows else "")
        )
    return "".join(parts)


def _gammas(facts: Facts) -> str:
    model, summary = facts.model, facts.summary
    shown = [member for member in facts.lineage if member.layers][-3:]
    over = {f"{member.name}{' ' * at}": _values(member) for at, member in enumerate(shown)}  # names may repeat
    # Whether it was sparse-trained is a question to a whole model; pruning takes the small gammas away.
    cut = model.kind in ("pruned", "finetuned")
    median, p10, p90 = map(numbers.gamma, (summary.median, summary.p10, summary.p90))
    said = f"Median {median}, 10th percentile {p10}, 90th {p90}."
    return (
        f"<p>{escape(said if cut else summary.verdict)}</p>"
        f"{svg.histogram(over, '|gamma|')}"
        '<p class="soft">By depth: the median of each layer, in the band from its 10th to its 90th percentile.</p>'
        f"{svg.bands([(layer.name, layer.values) for layer in model.layers], '|gamma|')}"
    )


def _channels(facts: Facts) -> str:
    before = _before(facts)
    widths = {layer.name: len(layer.values) for layer in (before or facts.model).layers}
    layers = [(layer.name, widths[layer.name], len(layer.values)) for layer in facts.model.layers]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{was}</td><td>{now}</td><td>{numbers.percent(now / was)}</td></tr>"
        for name, was, now in layers
    )
    head = "<tr><th>Layer</th><th>Before</th><th>After</th><th>Kept</th></tr>"
    said = (
        f"Grey: {escape(before.name)}. Coloured: this model." if before else "Nothing that it was pruned from is known."
    )
    return (
        f'<p class="soft">{said}</p>{svg.channel_bars(layers)}'
        f"<details><summary>Table of {len(layers)} layers</summary>"
        f'<div class="scroll"><table>{head}{rows}</table></div></details>'
    )


def _curve(facts: Facts) -> str:
    if not facts.curve:
        return ""
    study = facts.curve.study
    pairs = sorted((point["ratio_achieved"], point["metrics"]) for point in study.cuts())
    pairs = [(0.0, dense), *pairs] if (dense := study.metrics("dense")) else pairs
    series = {metric_label(name): [(ratio, metrics[name]) for ratio, metrics in pairs] for name in _shown(facts)}
    chosen = _own_ratio(facts)
    mark = " The dashed line is where this model was pruned." if chosen is not None else ""
    return _about(facts.curve, f"Directly after the cut, before fine-tuning.{mark}") + svg.line_chart(
        series, "Prune ratio", _axis(facts), mark=chosen, top=1.0
    )


def _sensitivity(facts: Facts) -> str:
    if facts.sensitivity is None:
        return ""
    study = facts.sensitivity.study
    repaired = study.metrics("repaired")
    if not repaired:
        return ""
    cut = {
        (at["block"], at["share"]): change
        for at in study.cuts()
        if (change := score_difference(at["metrics"], repaired)) is not None
    }
    shares = sorted({share for _, share in cut})
    worst = max([0.02, *(-change for change in cut.values())])
    head = "".join(f"<th>{numbers.percent(share, 0)} removed</th>" for share in shares)
    rows = "".join(
        f"<tr><td>{escape(block['block'])} {escape(block['kind'])}</td>"
        + "".join(_heat(cut.get((block["block"], share)), worst) for share in shares)
        + "</tr>"
        for block in study.blocks
    )
    about = _about(facts.sensitivity, f"Change of {score_heading([repaired])} with one block alone pruned.")
    return f'{about}<div class="scroll"><table class="heat"><tr><th>Block</th>{head}</tr>{rows}</table></div>'


def _training(facts: Facts) -> str:
    parts = []
    for member in facts.lineage:
        epochs = member.training.get("epoch", [])
        scores = {
            metric_label(name): _column(member, f"metrics/{name}{'(B)' if TASKS[facts.task].boxes else ''}")
            for name in _shown(facts)
        }
        losses = {name: _column(member, name) for name in member.training if name.endswith("_loss")}
        scores, losses = ({name: points for name, points in group.items() if points} for group in (scores, losses))
        if len(epochs) < 2 or not scores:
            continue
        parts.append(f"<h3>{escape(member.name)}</h3>{svg.line_chart(scores, 'Epoch', _axis(facts), top=1.0)}")
        if losses:
            parts.append(svg.line_chart({name: losses[name] for name in list(losses)[:4]}, "Epoch", "Loss"))
    return "".join(parts)


def _samples(facts: Facts) -> str:
    if not facts.samples:
        return f'<p class="soft">{escape(facts.note)}</p>'
    figures = "".join(
        f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(sample.jpeg).decode()}">'
        f"<figcaption>{escape(sample.name)}: {escape(sample.said)}</figcaption></figure>"
        for sample in facts.samples
    )
    return f'<p class="soft">Validation images, confidence 0.25 or more.</p><div class="shots">{figures}</div>'


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
    data = Path(measured.study.data).name
    return f'<p class="soft">{words} Measured for {escape(measured.of)} on {measured.study.images} images of ' \
           f"{escape(data)}.</p>"  # fmt: skip


def _column(member: ReportedModel, name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) points of one column of a training's table, without what is no number."""
    values: Sequence[Any] = member.training.get(name, [])
    pairs = zip(member.training.get("epoch", []), values, strict=False)
    return [(float(x), float(y)) for x, y in pairs if isinstance(y, (int, float)) and math.isfinite(y)]


def _values(member: ReportedModel) -> np.ndarray:
    return np.concatenate([layer.values for layer in member.layers])


def _heat(change: float | None, worst: float) -> str:
    if change is None:
        return "<td>–</td>"
    strength = round(80 * min(max(-change, 0.0) / worst, 1.0))
    return f'<td style="background: color-mix(in srgb, var(--c1) {strength}%, transparent)">{_signed(change)}</td>'


def _against(before: float | None, after: float | None) -> str:
    change = numbers.relative(before, after)
    return "" if change is None or abs(change) < numbers.NO_CHANGE else numbers.percent_change(change)


def _signed(change: float) -> str:
    return numbers.score_change(change)


def _cell(value: float | None, before: float | None, told: Callable[[float], str]) -> str:
    if value is None:
        return numbers.UNKNOWN
    change = _against(before, value)
    return told(value) + (f" <small>{change}</small>" if change else "")


def _score(member: ReportedModel, first: ReportedModel, name: str) -> str:
    if name not in member.metrics:
        return numbers.UNKNOWN
    change = "" if member is first else _score_change(member, first, name)
    mark = "" if member.shared else " *"
    return f"{numbers.score(member.metrics[name])}{mark}" + (f" <small>{change}</small>" if change else "")


def _score_change(member: ReportedModel, first: ReportedModel, name: str) -> str:
    """Return the change of an accuracy, empty where the two were not measured alike."""
    if not (member.shared and first.shared and name in member.metrics and name in first.metrics):
        return ""
    return _signed(member.metrics[name] - first.metrics[name])


def _score_conditions(facts: Facts) -> str:
    """Say what accuracy was measured with, and for whom otherwise."""
    shared = next((member.conditions for member in facts.lineage if member.shared), "")
    said = [f"Accuracy: {escape(shared)}."] if shared else []
    said += [
        f"* {escape(member.name)}: {escape(member.conditions)}; not held against the others."
        for member in facts.lineage
        if member.metrics and not member.shared
    ]
    return f'<p class="soft">{" ".join(said)}</p>' if said else ""

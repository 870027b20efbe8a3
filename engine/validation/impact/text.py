"""What was measured, as text for the terminal."""

from __future__ import annotations

from engine.base import numbers
from engine.base.tasks import main_score, metric_label, score_difference, score_heading, telling_metrics
from engine.settings.results import AccuracyCurve, Metrics, Sensitivity


def accuracy_text(result: AccuracyCurve) -> str:
    """Return an accuracy curve as a table."""
    names = tuple(reversed(telling_metrics(result.dense)))  # the one that judges last
    heads = "".join(f"{metric_label(name):>{_width(name)}}" for name in names)
    rows = [f"{'ratio':>8}{'parameters':>14}{'GFLOPs':>9}{heads}{'recalibrated':>14}"]
    rows.append(f"{'dense':>8}{'':>14}{'':>9}{_cells(result.dense, names)}")
    rows += [
        f"{point.ratio:>8g}{numbers.exact(point.params):>14}{numbers.gflops(point.gflops):>9}"
        f"{_cells(point.metrics, names)}"
        f"{point.recalibrated or 'no':>14}"
        for point in result.points
    ]
    if result.beyond:
        rows.append(f"floors forbid {', '.join(f'{ratio:g}' for ratio in result.beyond)}")
    return "\n".join([*rows, _where(result)])


def sensitivity_text(result: Sensitivity) -> str:
    """Return the loss of accuracy by block and share as a table."""
    shares = [f"{share:g}" for share in result.shares]
    rows = [f"{'block':<22}{'channels':>9}" + "".join(f"{numbers.percent(float(share), 0):>9}" for share in shares)]
    for row in result.blocks:
        cells = (_loss(result, row.metrics.get(share)) for share in shares)
        rows.append(f"{row.block + ' ' + row.kind:<22}{row.channels:>9}" + "".join(cells))
    if result.repaired:
        name, whole = score_heading([result.repaired]), numbers.score(main_score(result.repaired))
        rows.append(f"change of {name} against {whole}; '{numbers.UNKNOWN}': a floor forbids it")
    return "\n".join([*rows, _where(result)])


def _loss(result: Sensitivity, metrics: Metrics | None) -> str:
    change = score_difference(metrics or {}, result.repaired)
    return f"{numbers.UNKNOWN if change is None else numbers.score_change(change):>9}"


def _width(name: str) -> int:
    return max(8, len(metric_label(name)) + 2)


def _cells(metrics: Metrics, names: tuple[str, ...]) -> str:
    return "".join(f"{numbers.score(metrics.get(name)):>{_width(name)}}" for name in names)


def _where(result: AccuracyCurve | Sensitivity) -> str:
    ended = "stopped early; " if result.stopped else ""
    return f"{ended}{result.images} validation images; kept in {result.file}"

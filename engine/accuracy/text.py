"""What was measured, as text for the terminal."""

from __future__ import annotations

from typing import Any

from engine.accuracy.settings import HEADLINE


def accuracy_text(result: dict[str, Any]) -> str:
    """Return an accuracy curve as a table."""
    rows = [f"{'ratio':>8}{'parameters':>14}{'GFLOPs':>9}{'mAP50':>8}{HEADLINE:>10}{'recalibrated':>14}"]
    rows.append(f"{'dense':>8}{'':>14}{'':>9}{_cells(result['dense'])}")
    rows += [
        f"{point['ratio']:>8g}{point['params']:>14,}{point['gflops']:>9.2f}{_cells(point['metrics'])}"
        f"{point['recalibrated'] or 'no':>14}"
        for point in result["points"]
    ]
    if result["beyond"]:
        rows.append(f"floors forbid {', '.join(f'{ratio:g}' for ratio in result['beyond'])}")
    return "\n".join([*rows, _where(result)])


def sensitivity_text(result: dict[str, Any]) -> str:
    """Return the loss of mAP by block and share as a table."""
    shares = [f"{share:g}" for share in result["shares"]]
    rows = [f"{'block':<22}{'channels':>9}" + "".join(f"{float(share):>9.0%}" for share in shares)]
    for row in result["blocks"]:
        cells = (_loss(result, row["metrics"].get(share)) for share in shares)
        rows.append(f"{row['block'] + ' ' + row['kind']:<22}{row['channels']:>9}" + "".join(cells))
    if result["repaired"]:
        rows.append(f"change of {HEADLINE} against {result['repaired'][HEADLINE]:.3f}; '-': a floor forbids it")
    return "\n".join([*rows, _where(result)])


def _loss(result: dict[str, Any], metrics: dict[str, float] | None) -> str:
    if metrics is None:
        return f"{'-':>9}"
    change = metrics[HEADLINE] - result["repaired"][HEADLINE]
    return f"{change:>+9.3f}" if round(change, 3) else f"{'0':>9}"


def _cells(metrics: dict[str, float]) -> str:
    return f"{metrics['mAP50']:>8.3f}{metrics[HEADLINE]:>10.3f}" if metrics else f"{'-':>8}{'-':>10}"


def _where(result: dict[str, Any]) -> str:
    ended = "stopped early; " if result["stopped"] else ""
    return f"{ended}{result['images']} validation images; kept in {result['file']}"

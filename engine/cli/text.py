"""What a verb's result reads like on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from engine.base import numbers
from engine.base.imgsz import pixels
from engine.base.tasks import metric_label
from engine.settings.verb_facts import TRAINING


def result_text(verb: str, result: dict[str, Any]) -> str:
    """Return the result of a verb for a person to read."""
    if verb == "inspect":
        return _inspect_text(result)
    if verb in ("preview", "prune"):
        return _plan_text(result)
    if verb in ("accuracy", "sensitivity"):
        from engine.validation.impact import text

        return text.accuracy_text(result) if verb == "accuracy" else text.sensitivity_text(result)
    if verb == "compare":
        from engine.reports.comparison import comparison_table

        return comparison_table(result)
    if verb == "export":
        from engine.export.text import export_text

        return export_text(result)
    if verb == "report":
        return f"report: {result['report']}"
    if verb == "latency":
        from engine.latency.text import latency_text

        return latency_text(result)
    if verb == "run":
        from engine.verbs.recipe import run_text

        return run_text(result)
    lines = [f"{metric_label(name):>12}: {numbers.score(value)}" for name, value in result["metrics"].items()]
    if verb in TRAINING:
        lines += [f"{'params':>12}: {numbers.exact(result['params'])}", f"{'best.pt':>12}: {result['best']}"]
        lines += [f"{'last.pt':>12}: {result['last']}"]
    return "\n".join(lines)


def _inspect_text(result: dict[str, Any]) -> str:
    rows = [f"{'layer':<34}{'channels':>9}{'prunable':>9}{'min':>9}{'median':>9}{'max':>9}"]
    rows += [
        f"{layer['name']:<34}{layer['channels']:>9}{layer['prunable']:>9}{numbers.gamma(layer['gamma_min']):>9}"
        f"{numbers.gamma(layer['gamma_median']):>9}{numbers.gamma(layer['gamma_max']):>9}  {layer['reason']}".rstrip()
        for layer in result["layers"]
    ]
    head = f"{result['weights']}: {result['task']}, {len(result['names'])} classes, "
    head += f"{numbers.exact(result['params'])} parameters, "
    head += numbers.gflops_at(result["gflops"], result["imgsz"])
    return "\n".join([head, result["gammas"]["verdict"], *rows])


def _plan_text(result: dict[str, Any]) -> str:
    rows = [f"{'layer':<34}{'before':>8}{'after':>8}"]
    rows += [
        f"{layer['name']:<34}{layer['before']:>8}{layer['after']:>8}"
        f"{'  ' + ', '.join(layer['bounds']) if layer['bounds'] else ''}"
        f"{'  ' + layer['reason'] if layer['reason'] else ''}"
        for layer in result["layers"]
    ]
    limit = f", then {result['limiting_layer']} is at its floor" if result["limiting_layer"] else ""
    rows += [
        f"ratio {numbers.ratio(result['ratio_achieved'])} of {numbers.ratio(result['ratio_requested'])} asked; "
        f"by score alone at most {numbers.ratio_bound(result['max_ratio'])}{limit}",
        f"parameters {_change(result, 'params', numbers.exact)}",
        f"GFLOPs at {pixels(result['imgsz'])} {_change(result, 'gflops', numbers.gflops)}",
    ]
    if "latency_ms" in result:
        from engine.latency.text import pruned_lines

        rows += pruned_lines(result)
    if "pruned" in result:
        rows.append(f"pruned.pt: {result['pruned']}")
        if result["params"] < result["params_before"]:
            rows.append(
                f"train it with: python -m engine finetune --weights {shlex.quote(result['pruned'])} --data DATA "
                "(stock Ultralytics training would rebuild the full network, so it stops with an error that says this)"
            )
    return "\n".join(rows)


def _change(result: dict[str, Any], name: str, told: Callable[[float], str]) -> str:
    before, after = result[f"{name}_before"], result[name]
    return f"{told(before)} -> {told(after)} ({numbers.percent_change(numbers.relative(before, after))})"

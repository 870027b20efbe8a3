"""The verbs: a specification goes in, a result comes out. Terminal, jobs and pages run the same functions.

A specification is a plain dict whose keys are the terminal's long options with underscores. A result is the model that
``engine.settings.results`` has for the verb. ``report`` receives events; see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.base.errors import WorkbenchError
from engine.base.events import Report, silent
from engine.settings.requests import read_request
from engine.settings.results import Result
from engine.verbs.accuracy import accuracy, sensitivity
from engine.verbs.common import Spec, resolve_weights
from engine.verbs.comparing import compare
from engine.verbs.evaluating import val
from engine.verbs.exporting import export
from engine.verbs.inspecting import inspect
from engine.verbs.pruning import PlanArguments, plan_arguments, preview, prune, recalibration_images
from engine.verbs.reporting import report
from engine.verbs.timing import latency
from engine.verbs.training import finetune, sparsify, train

# Torch and Ultralytics take seconds to import, so the verbs import what they need when they run.

VERBS: dict[str, Callable[[Spec, Report], Result]] = {
    "inspect": inspect,
    "preview": preview,
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "prune": prune,
    "train": train,
    "sparsify": sparsify,
    "finetune": finetune,
    "val": val,
    "compare": compare,
    "export": export,
    "latency": latency,
    "report": report,
}


def run_verb(verb: str, spec: Spec, report: Report = silent) -> Result:
    """Run a verb.

    Raises:
        WorkbenchError: Something that the person can mend; the message says what and how.
        StopRequested: ``report`` raised it and the verb had nothing to keep.
    """
    from engine.base.runtime import import_ultralytics

    if verb not in VERBS:
        raise WorkbenchError(f"There is no verb {verb!r}; the verbs are {', '.join(VERBS)}.")
    read_request(verb, spec)
    import_ultralytics()
    if spec.get("download") and spec.get("data"):
        from engine.datasets import download_folder, fetch_if_missing

        fetch_if_missing(str(spec["data"]), download_folder(), report)
    return VERBS[verb](spec, report)


__all__ = [
    "VERBS",
    "PlanArguments",
    "plan_arguments",
    "recalibration_images",
    "resolve_weights",
    "run_verb",
]

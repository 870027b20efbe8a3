"""The verbs: a request goes in, a result comes out. Terminal, jobs and pages run the same functions.

Requests are the models of ``engine.settings.requests``, results those of ``engine.settings.results``. ``run_verb``
reads a request from a specification: a plain dict whose keys are the terminal's long options with underscores, as jobs
keep it. ``report`` receives events; see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.base.events import Report, silent
from engine.settings.requests import read_request
from engine.settings.results import Result
from engine.settings.where import MayData
from engine.verbs.accuracy import accuracy, sensitivity
from engine.verbs.common import resolve_weights
from engine.verbs.comparing import compare
from engine.verbs.evaluating import val
from engine.verbs.exporting import export
from engine.verbs.inspecting import inspect
from engine.verbs.pruning import PlanArguments, plan_arguments, preview, prune, recalibration_images
from engine.verbs.reporting import report
from engine.verbs.timing import latency
from engine.verbs.training import finetune, sparsify, train

# Torch and Ultralytics take seconds to import, so the verbs import what they need when they run.

VERBS: dict[str, Callable[[Any, Report], Result]] = {
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
"Verb -> what does it; takes the request that ``engine.settings.requests.REQUESTS`` has for it."


def run_verb(verb: str, spec: Mapping[str, Any], report: Report = silent) -> Result:
    """Run a verb with the request that a specification makes.

    Raises:
        WorkbenchError: Something that the person can mend; the message says what and how.
        StopRequested: ``report`` raised it and the verb had nothing to keep.
    """
    from engine.base.runtime import import_ultralytics

    request = read_request(verb, spec)
    import_ultralytics()
    if isinstance(request, MayData) and request.download and request.data:
        from engine.datasets import download_folder, fetch_if_missing

        fetch_if_missing(request.data, download_folder(), report)
    return VERBS[verb](request, report)


__all__ = [
    "VERBS",
    "PlanArguments",
    "plan_arguments",
    "recalibration_images",
    "resolve_weights",
    "run_verb",
]

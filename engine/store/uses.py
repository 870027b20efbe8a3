"""Who still needs the file of a model: jobs that have not ended, and recipes that have not finished."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.store.records import ACTIVE_STATES, Model

_ACTIVE = f"SELECT title, spec, model_id FROM jobs WHERE state IN ({', '.join('?' * len(ACTIVE_STATES))})"
# One whose job was deleted is given up, so it needs nothing any more.
_UNFINISHED = (
    "SELECT chains.title, chains.base, jobs.spec, jobs.result FROM chains JOIN jobs ON jobs.id = chains.job_id "
    "WHERE jobs.state <> 'done' OR chains.step < chains.steps ORDER BY chains.number"
)


def why_needed(connection: sqlite3.Connection, model: Model) -> str | None:
    """Return the sentence that says who still needs a model and how to change that; None where nobody does."""
    path = os.path.realpath(model.path)
    for job in connection.execute(_ACTIVE, ACTIVE_STATES):
        if job["model_id"] == model.id or path in _real(named_files(json.loads(job["spec"]))):
            return f"{model.name} is in use by the job {job['title']}: stop it, or wait until it has ended."
    for chain in connection.execute(_UNFINISHED):
        named = [json.loads(chain["base"]).get("weights"), *named_files(json.loads(chain["spec"]))]
        made = (json.loads(chain["result"]) if chain["result"] else {}).get("model_ids") or ()
        if model.id in made or path in _real(named):
            return (
                f"{model.name} is needed by the recipe {chain['title']}, which has not finished: wait until it has, "
                "or delete the job that it stopped at."
            )
    return None


def named_files(spec: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the checkpoints that the specification of a job names."""
    weights, chain = spec.get("weights"), spec.get("chain") or {}
    yield from weights if isinstance(weights, list) else [weights]
    yield from (spec.get("teacher"), spec.get("reference"), chain.get("base"), *chain.get("made", ()))


def _real(names: Iterable[Any]) -> set[str]:
    return {os.path.realpath(os.path.expanduser(name)) for name in names if isinstance(name, str)}

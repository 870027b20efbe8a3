"""Who needs the file of a model: jobs and recipes that have not finished; and who would miss it later."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.base.errors import JobError
from engine.base.files import expanded
from engine.workspace.store.records import ACTIVE_STATES, UNFINISHED_ENDS, Dependants, Model

_IN_STATES = "SELECT title, spec, model_id FROM jobs WHERE state IN ({})"
_GUIDES = ("teacher", "reference")
# One whose job was deleted is given up, so it needs nothing any more.
_UNFINISHED = (
    "SELECT chains.title, chains.base, jobs.spec, jobs.result FROM chains JOIN jobs ON jobs.id = chains.job_id "
    "WHERE jobs.state <> 'done' OR chains.step < chains.steps ORDER BY chains.number"
)


def why_needed(connection: sqlite3.Connection, model: Model) -> str | None:
    """Return the sentence that says who still needs a model and how to change that; None where nobody does."""
    path = os.path.realpath(model.path)
    for job in _jobs(connection, ACTIVE_STATES):
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


def require_model(connection: sqlite3.Connection, model_id: str | None) -> None:
    """Refuse to work on a model that is not there, or of which only the record is left. Raises JobError."""
    if model_id is None:
        return
    row = connection.execute("SELECT name, deleted_at FROM models WHERE id = ?", (model_id,)).fetchone()
    if row is None:
        raise JobError(f"There is no model {model_id} to work on: it may have been deleted; choose another.")
    if row["deleted_at"] is not None:
        raise JobError(f"{row['name']} was deleted from this workspace; open its file again, or choose another model.")


def dependants(connection: sqlite3.Connection, model: Model) -> Dependants:
    """Return what would miss a model, by name; what was deleted itself misses nothing."""
    path = os.path.realpath(model.path)
    children, commands, guided = [], [], []
    for other in _others(connection, model):
        made, is_child = json.loads(other["made"]), other["parent_id"] == model.id
        spec = made.get("spec") or {}
        if is_child:
            children.append(other["name"])
        # The specification of what a page made names no weights: they are those of the parent.
        if path in _real(named_files(spec)) or (is_child and spec and not spec.get("weights")):
            commands.append(other["name"])
        if path in _real(spec.get(role) for role in _GUIDES):
            guided.append(other["name"])
    early = [
        job["title"]
        for job in _jobs(connection, UNFINISHED_ENDS)
        if job["model_id"] == model.id or path in _real(named_files(json.loads(job["spec"])))
    ]
    exports = connection.execute(
        "SELECT COUNT(*) FROM jobs WHERE verb = 'export' AND state = 'done' AND model_id = ?", (model.id,)
    ).fetchone()[0]
    needed = why_needed(connection, model)
    return Dependants(tuple(children), tuple(commands), tuple(guided), tuple(early), exports, needed)


def is_missed(connection: sqlite3.Connection, model: Model) -> bool:
    """Whether the record of a model serves others: they descend from it, or the commands that made them name it."""
    path = os.path.realpath(model.path)
    rows = connection.execute("SELECT parent_id, made FROM models WHERE id <> ?", (model.id,))
    return any(
        row["parent_id"] == model.id or path in _real(named_files(json.loads(row["made"]).get("spec") or {}))
        for row in rows
    )


def _others(connection: sqlite3.Connection, model: Model) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT name, parent_id, made FROM models WHERE id <> ? AND deleted_at IS NULL ORDER BY number", (model.id,)
    ).fetchall()


def _jobs(connection: sqlite3.Connection, states: tuple[str, ...]) -> list[sqlite3.Row]:
    return connection.execute(_IN_STATES.format(", ".join("?" * len(states))), states).fetchall()


def named_files(spec: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the checkpoints that the specification of a job names."""
    weights, chain = spec.get("weights"), spec.get("chain") or {}
    yield from weights if isinstance(weights, list) else [weights]
    yield from (spec.get("teacher"), spec.get("reference"), chain.get("base"), *chain.get("made", ()))


def _real(names: Iterable[Any]) -> set[str]:
    return {os.path.realpath(expanded(name)) for name in names if isinstance(name, str)}

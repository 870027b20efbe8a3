"""Recipes that run as a chain of jobs: each step works on the model that the one before it made.

Only the job of the step that a chain is at exists. The worker that did it submits the next one at its end; should that
worker die before, the next look at the workspace does. A step that did not end as done stops its chain until it is
resumed or retried.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.base.errors import JobError, StorageError
from engine.jobs.control import can_resume, resume, retry
from engine.jobs.launching import WORKER, submit
from engine.recipes.steps import made_models, step_spec
from engine.settings.results import Result
from engine.settings.verb_facts import MEASURING, verb_word
from engine.workspace.store import UNFINISHED_ENDS, Chain, ChainPlace, Job, PlaceTaken, Store


class ChainStep(NamedTuple):
    """A step of a chain. ``state`` is that of its newest job, "waiting" before there is one."""

    verb: str
    state: str
    job_id: str | None  # None before it was started, and when its job was deleted


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """Where a chain stands."""

    title: str
    steps: list[ChainStep]
    finished: bool  # every step is done
    failed_step: int | None  # the one that the chain stopped at, counted from 1


def start_chain(
    store: Store,
    recipe: dict[str, Any],
    title: str,
    model_id: str | None,
    spec_base: dict[str, Any],
    *,
    command: Sequence[str] = WORKER,
) -> Chain:
    """Register a chain, submit the job of its first step, and return the chain.

    Args:
        store: the workspace.
        recipe: {"name": str, "steps": [{"verb": str, "settings": {...}}, ...]}.
        title: the chain's name for a person; its jobs are named after it.
        model_id: the base model, parent of the first model that the chain makes.
        spec_base: "weights", the path of the base model, and for the verbs that take them "data" and "device".
        command: the worker's command line, without the workspace and the job's id.

    Raises:
        JobError: the recipe has no steps, or one without a verb; there is no such model; or the worker cannot be
            started (the chain is then kept, its first step failed).
    """
    _check_recipe(recipe)
    chain = store.add_chain(recipe, title, spec_base, model_id)
    _submit_step(store, chain, 1, [], model_id, command)
    return store.chain(chain.id)


def advance(store: Store, chain_id: str, *, command: Sequence[str] = WORKER) -> Job | None:
    """Submit the next step of a chain if the one it is at is done, and return its job; None if there was no need.

    Safe to call at any time and by several processes at once: one of them submits the job.

    Raises:
        JobError: the worker cannot be started; the job is then kept as failed.
    """
    chain = store.chain(chain_id)
    done = next((job for job in store.chain_jobs(chain_id) if job.id == chain.job_id), None)
    if done is None or done.state != "done" or chain.step >= len(chain.recipe["steps"]):
        return None
    try:
        return _submit_after(store, chain, done, command)
    except PlaceTaken:
        return None


def advance_ready(store: Store, *, command: Sequence[str] = WORKER) -> None:
    """Submit the next step of every chain whose step is done. A worker that cannot be started shows as a failed job."""
    for chain in store.ready_chains():
        with contextlib.suppress(JobError):
            advance(store, chain.id, command=command)


def restart_chain(store: Store, chain_id: str, *, command: Sequence[str] = WORKER) -> Job:
    """Go on with a chain that stopped: resume the job that it stopped at if that can be, else retry it; return the job.

    Raises:
        JobError: the chain has finished or is under way, what it would go on from was deleted, or the worker cannot
            be started.
    """
    chain = store.chain(chain_id)
    status = chain_status(store, chain_id)
    if status.finished:
        raise JobError(f"{chain.title} has finished, so there is nothing to restart: start it anew instead.")
    job = next((job for job in store.chain_jobs(chain_id) if job.id == chain.job_id), None)
    if job is None:
        return _start_again(store, chain, command)
    if job.state in UNFINISHED_ENDS:
        return (resume if can_resume(store, job) else retry)(store, job.id, command=command)
    if advanced := advance(store, chain_id, command=command):
        return advanced
    raise JobError(f"{chain.title} is under way: stop its job before restarting it.")


def chain_status(store: Store, chain_id: str) -> ChainStatus:
    """Return where a chain stands. Raises JobError when there is none of this id."""
    chain = store.chain(chain_id)
    newest = {job.chain_step: job for job in store.chain_jobs(chain_id)}
    steps = [
        _step(chain, number, step["verb"], newest.get(number))
        for number, step in enumerate(chain.recipe["steps"], start=1)
    ]
    stopped = [number for number, step in enumerate(steps, start=1) if step.state in UNFINISHED_ENDS]
    return ChainStatus(chain.title, steps, all(step.state == "done" for step in steps), next(iter(stopped), None))


def _check_recipe(recipe: dict[str, Any]) -> None:
    steps = recipe.get("steps")
    if not isinstance(steps, list) or not steps:
        raise JobError("This recipe has no steps: give it at least one.")
    for number, step in enumerate(steps, start=1):
        if not (isinstance(step, dict) and isinstance(step.get("verb"), str)):
            raise JobError(f"Step {number} of this recipe names no verb: give it one.")
        if not isinstance(step.get("settings") or {}, dict):
            raise JobError(f"The settings of step {number} of this recipe are no names with values: write them so.")


def _submit_after(store: Store, chain: Chain, done: Job, command: Sequence[str]) -> Job:
    """Submit the step that comes after a job that is done."""
    result = done.result or Result()
    made = [*done.spec.get("chain", {}).get("made", ()), *_kept_models(store, result)]
    model_id = (done.model_ids or (done.model_id,))[-1]
    return _submit_step(store, chain, (done.chain_step or 0) + 1, made, model_id, command)


def _submit_step(
    store: Store, chain: Chain, number: int, made: list[str], model_id: str | None, command: Sequence[str]
) -> Job:
    steps, base = chain.recipe["steps"], chain.base
    verb, settings = steps[number - 1]["verb"], steps[number - 1].get("settings") or {}
    known = model_id is not None and any(model.id == model_id for model in store.models())
    return submit(
        store,
        verb,
        step_spec(verb, settings, base["weights"], made, data=base.get("data"), device=base.get("device")),
        f"{chain.title}: step {number} of {len(steps)}, {verb_word(verb).lower()}",
        model_id if known else None,
        # The other verbs are short, and never wait for a device.
        exclusive=verb in MEASURING,
        place=ChainPlace(chain.id, number, after=chain.job_id),
        command=command,
    )


def _start_again(store: Store, chain: Chain, command: Sequence[str]) -> Job:
    """Submit the step that a chain is at anew, because its job was deleted."""
    if chain.step == 1:
        return _submit_step(store, chain, 1, [], chain.base_model_id, command)
    before = [job for job in store.chain_jobs(chain.id) if job.chain_step == chain.step - 1 and job.state == "done"]
    if not before:
        raise JobError(f"{chain.title} cannot go on, because the job before was deleted: start it anew instead.")
    return _submit_after(store, chain, before[-1], command)


def _step(chain: Chain, number: int, verb: str, job: Job | None) -> ChainStep:
    if number < chain.step:
        # Behind the chain: done, whatever became of its jobs since.
        return ChainStep(verb, "done", None if job is None else job.id)
    if number > chain.step:
        return ChainStep(verb, "waiting", None)
    return ChainStep(verb, "stopped", None) if job is None else ChainStep(verb, job.state, job.id)


def _kept_models(store: Store, result: Result) -> list[str]:
    """Return the models that a job made, as the workspace's own copies: they stay when its folder is deleted."""
    model_ids = itertools.chain(result.model_ids or (), itertools.repeat(None))
    return [_kept_path(store, model_id, path) for path, model_id in zip(made_models([result]), model_ids, strict=False)]


def _kept_path(store: Store, model_id: str | None, path: str) -> str:
    with contextlib.suppress(StorageError):
        if model_id is not None and (model := store.model(model_id)).path.is_file():
            return str(model.path)
    return path

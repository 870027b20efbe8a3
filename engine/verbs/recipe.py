"""Run a recipe in this process, step after step, and go on where a run before ended.

SAVE_DIR/run.json says after every step what is done. A step that was cut short is done again; training goes on from
its last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base import numbers
from engine.base.documents import parse_yaml
from engine.base.errors import StorageError, WorkbenchError
from engine.base.events import Report, silent, status_event
from engine.base.files import expanded, file_digest, write_text_atomic
from engine.base.tasks import metric_label
from engine.recipes.format import Recipe, RecipeError, open_recipe, recipe_from_dict, shipped_names
from engine.recipes.steps import is_description, made_models, step_device, step_spec
from engine.settings.choices import IMAGE_CRITERIA
from engine.settings.fields import fields_of
from engine.settings.plan import PlanSettings
from engine.settings.requests import RunRequest, VerbRequest, read_request, request_of
from engine.settings.results import (
    CompareResult,
    ListedRecipe,
    PruneResult,
    RecipeList,
    Result,
    RunResult,
    StepResult,
    dumped,
    parsed,
)
from engine.settings.training import Arguments, Sparsity, Training
from engine.settings.verb_facts import MEASURING, MODEL_MAKERS, TRAINING, needs_data

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint
    from engine.datasets import DatasetInfo

RunVerb = Callable[[str, dict[str, Any], Report], Result]

STATE_FILE = "run.json"
_STATE_VERSION = 1


@dataclass(frozen=True)
class Run:
    """A recipe with everything that it leaves open."""

    recipe: Recipe
    base: str
    "Checkpoint that the first step works on; a model YAML where that step trains from scratch."
    data: str | None
    device: str | None
    "For every step, whatever the recipe says; None leaves it to the recipe."
    save_dir: Path

    def folder(self, number: int) -> Path:
        """Return the folder of a step, counted from 1."""
        return self.save_dir / f"{number}-{self.recipe.steps[number - 1].verb}"

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a run to go on, as JSON-able values."""
        digest = file_digest(self.base) if os.path.isfile(self.base) else self.base
        return {
            "version": _STATE_VERSION,
            "recipe": self.recipe.as_dict()["steps"],
            "base": digest,
            "data": self.data,
        }


def run_recipe(
    recipe: Recipe,
    weights: str | None = None,
    data: str | None = None,
    save_dir: str | Path = "run",
    device: str | None = None,
    report: Report = silent,
    resume: bool = True,
    *,
    download: bool = False,
    run_verb: RunVerb | None = None,
) -> RunResult:
    """Run the steps of a recipe one after another, each in SAVE_DIR/NUMBER-VERB.

    Args:
        recipe: what to do.
        weights: the model to start from; the recipe's own by default.
        data: the data set's YAML description; the recipe's own by default.
        save_dir: where everything is written. A run of the same recipe there goes on at the step that was not done.
        device: for all steps; the recipe's own by default.
        report: receives the events of all steps; ``StopRequested`` raised from it ends the run.
        resume: go on with what ``save_dir`` holds; if off, a folder with a run is refused.
        download: fetch the images of a data set that Ultralytics ships a description of, where they are missing.
        run_verb: as ``engine.verbs.run_verb``.

    Raises:
        RecipeError: the recipe cannot run like this, or ``save_dir`` holds another run.
        WorkbenchError: a step failed; the message names it.
    """
    if run_verb is None:
        from engine import verbs

        run_verb = verbs.run_verb
    run = _prepared(recipe, weights, data, save_dir, device)
    identity, records = run.identity(), []
    if (run.save_dir / STATE_FILE).exists():
        if not resume:
            raise RecipeError(f"{run.save_dir} holds a run already; choose another folder.")
        records = _read_records(run, identity)
    if run.data is not None and (download or recipe.download):
        from engine.datasets import download_folder, fetch_if_missing

        fetch_if_missing(run.data, download_folder(), report)
    check_run(run)
    records, begun = _still_there(records, report)
    steps, stopped = run.recipe.steps, False
    for number in range(len(records) + 1, len(steps) + 1):
        step = steps[number - 1]
        report(status_event(f"Step {number} of {len(steps)}: {step.verb}"))
        goes_on = begun == number and step.verb in TRAINING and (run.folder(number) / "weights" / "last.pt").is_file()
        spec = run_spec(run, number, _made(records), resume=goes_on)
        _write_state(run, identity, [*records, _record(run, number, "begun")])
        result = _step_result(run, number, spec, report, run_verb)
        if result.stopped:
            # Left as begun: asked again, the run goes on within this step.
            records, stopped = [*records, _record(run, number, "begun", result)], True
            break
        records = [*records, _record(run, number, "done", _described(result, spec))]
        _write_state(run, identity, records)
    return summary(run, records, stopped=stopped)


def run_spec(run: Run, number: int, made: Sequence[str], *, resume: bool = False) -> dict[str, Any]:
    """Return the specification of a step, counted from 1, after earlier steps made these models."""
    step = run.recipe.steps[number - 1]
    devices = {"device": run.device, "recipe_device": run.recipe.device}
    spec = step_spec(step.verb, step.settings, run.base, made, data=run.data, **devices)
    if "save_dir" in fields_of(request_of(step.verb)):
        spec["save_dir"] = str(run.folder(number))
    return {**spec, "resume": True} if resume else spec


def summary(run: Run, records: Sequence[_Record], *, stopped: bool = False) -> RunResult:
    """Return what a run gave so far."""
    measured = [record.result.metrics for record in records if record.verb in MEASURING and record.result.metrics]
    return RunResult(
        name=run.recipe.name,
        steps=tuple(StepResult(verb=record.verb, save_dir=record.save_dir, result=record.result) for record in records),
        models=tuple(_made(records)),
        artefacts=tuple(artefact for record in records for artefact in record.result.artefacts),
        metrics=measured[-1] if measured else {},
        save_dir=str(run.save_dir),
        stopped=stopped,
    )


def _made(records: Sequence[_Record]) -> list[str]:
    return made_models(record.result for record in records)


# Before the first step: what would otherwise be found out hours later


def check_recipe(recipe: Recipe, weights: str, data: str | None, device: str | None) -> None:
    """Refuse what some step of a recipe could not do with this model, data set and device; see ``check_run``."""
    check_run(_prepared(recipe, weights, data, "run", device))


def told_check(
    scratch: Path, recipe: str, weights: str, data: str | None, device: str | None
) -> tuple[None, dict[str, Any]]:
    """Check a recipe, given as its YAML, as a child process: who asks imports no PyTorch."""
    check_recipe(recipe_from_dict(parse_yaml(recipe)), weights, data, device)
    return None, {}


def check_run(run: Run) -> None:
    """Refuse what some step could not do.

    Raises:
        WorkbenchError: names the step.
    """
    from engine.base.runtime import import_ultralytics
    from engine.datasets import check_dataset
    from engine.verbs.common import starting_point

    import_ultralytics()
    from engine.base.devices import check_device
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.validation.checks import check_task

    _, task, _ = starting_point(run.base, scratch_allowed=run.recipe.steps[0].verb == "train")
    for number, step in enumerate(run.recipe.steps, start=1):
        with _naming(run, number):
            if step.verb in MEASURING:
                check_task(task)
            if device := step_device(step.settings, run.device, run.recipe.device):
                check_device(device)
            _check_settings(step.verb, _request(run, number))
            if run.data is None and needs_data(step.verb, step.settings):
                raise RecipeError("needs a data set; add --data, or data: to the recipe.")
            if step.settings.get("distill"):
                _check_teacher(run, number)
    if run.data is not None:
        info = check_dataset(run.data, task)
        if not is_description(run.base):
            _check_fit(run, open_checkpoint(run.base), info)


def _check_fit(run: Run, checkpoint: Checkpoint, info: DatasetInfo) -> None:
    """Refuse a data set that some step cannot take: one measures before any has trained on it, or trains a cut model.

    A model that fits only after its head or first layer was built anew does so from the first training on, unless it
    is pruned by then.
    """
    from engine.datasets.facts import require_images, require_measurable, training_fit
    from engine.datasets.fit import REFUSED
    from engine.settings.arguments import asked_single_cls

    pruned = False
    for number, step in enumerate(run.recipe.steps, start=1):
        with _naming(run, number):
            if step.verb in TRAINING:
                fit = training_fit(checkpoint, info, single_cls=asked_single_cls(step.settings), pruned=pruned)
                if fit.verdict == REFUSED:
                    raise RecipeError(fit.sentence)
                return
            if step.verb != "prune":
                require_measurable(checkpoint, info, single_cls=asked_single_cls(step.settings))
                continue
            if step.settings.get("criterion") in IMAGE_CRITERIA:
                require_measurable(checkpoint, info)
            elif needs_data(step.verb, step.settings):
                require_images(checkpoint, info)
            pruned = True


def _request(run: Run, number: int) -> VerbRequest:
    """Return what a step is asked, with the model that the run starts from in place of files that are not known yet."""
    spec = {"data": run.base, **run_spec(run, number, []), "weights": run.base}
    return read_request(run.recipe.steps[number - 1].verb, spec)


def _check_settings(verb: str, request: VerbRequest) -> None:
    """Refuse settings of a step that do not go together, or that this machine cannot do."""
    from engine.settings.arguments import merged_request
    from engine.training.trackers import check_trackers
    from engine.verbs import plan_arguments
    from engine.verbs.training import sparsity_settings

    if isinstance(request, Training):
        check_trackers(request.tracker)
    if isinstance(request, Arguments):
        merged_request(request, verb)
    if isinstance(request, PlanSettings):
        plan_arguments(request)
    if isinstance(request, Sparsity):
        sparsity_settings(request)


def _check_teacher(run: Run, number: int) -> None:
    if is_description(run.base):
        raise RecipeError("distill learns from the model that the recipe starts from, and this one starts from none.")
    if not any(step.verb in MODEL_MAKERS for step in run.recipe.steps[: number - 1]):
        raise RecipeError("would distil a model from itself; put another step before it, or leave distill out.")


@contextlib.contextmanager
def _naming(run: Run, number: int) -> Iterator[None]:
    """Put the step's name before an error of the block."""
    try:
        yield
    except WorkbenchError as error:
        text = str(error)
        step = f"Step {number} ({run.recipe.steps[number - 1].verb})"
        raise RecipeError(f"{step}{' ' if text[:1].islower() else ': '}{text}") from error


# State


def _prepared(recipe: Recipe, weights: str | None, data: str | None, save_dir: str | Path, device: str | None) -> Run:
    from engine.verbs.common import resolve_weights

    named = weights or recipe.weights
    if not named:
        raise RecipeError("The recipe names no model to start from; add --weights, or weights: to the recipe.")
    base = str(named) if is_description(str(named)) else str(resolve_weights(str(named)).absolute())
    data = data or recipe.data
    return Run(recipe, base, _absolute(data), device, expanded(save_dir).absolute())


def _absolute(data: str | None) -> str | None:
    """Return the path of a data set as an absolute one; the name of one that Ultralytics ships stays a name."""
    if data is None:
        return None
    from engine.datasets import shipped_description

    path = expanded(data)
    return data if not os.path.exists(path) and shipped_description(data) else str(path.absolute())


@dataclass(frozen=True)
class _Record:
    """A step that is done, or begun, as the state file has it."""

    verb: str
    save_dir: str
    state: str
    "done or begun"
    result: Result
    "Of a step that was cut short, an empty one."

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> _Record:
        """Return what ``written`` gave; raises KeyError, TypeError or StorageError where it is something else."""
        verb, told = values["verb"], values["result"]
        result = parsed(verb, told) if values["state"] == "done" else Result()
        return cls(verb, values["save_dir"], values["state"], result)

    def written(self) -> dict[str, Any]:
        """Return the record as JSON-able values."""
        result = dumped(self.result) if self.state == "done" else {}
        return {"verb": self.verb, "save_dir": self.save_dir, "state": self.state, "result": result}


def _record(run: Run, number: int, state: str, result: Result | None = None) -> _Record:
    return _Record(run.recipe.steps[number - 1].verb, str(run.folder(number)), state, result or Result())


def _write_state(run: Run, identity: Mapping[str, Any], records: Sequence[_Record]) -> None:
    steps = [record.written() for record in records]
    text = json.dumps({**identity, "name": run.recipe.name, "steps": steps}, indent=1)
    write_text_atomic(run.save_dir / STATE_FILE, text)


def _read_records(run: Run, identity: Mapping[str, Any]) -> list[_Record]:
    """Return the steps that a run before did or began; refuse one that was another."""
    path = run.save_dir / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        records = [_Record.read(record) for record in state["steps"]]
    except (OSError, ValueError, KeyError, TypeError, StorageError) as error:
        raise StorageError(f"{path} cannot be read; choose another folder for this run.") from error
    for key, what in (("version", "layout"), ("recipe", "recipe"), ("base", "model"), ("data", "data set")):
        if state.get(key) != identity[key]:
            raise RecipeError(f"{run.save_dir} holds a run with another {what}; choose another folder (--save-dir).")
    return records


def _still_there(records: list[_Record], report: Report) -> tuple[list[_Record], int | None]:
    """Return the steps that are done, up to the first whose files are gone, and the number of one that had begun."""
    for index, record in enumerate(records):
        if record.state != "done":
            return records[:index], index + 1
        missing = [artefact.path for artefact in record.result.artefacts if not Path(artefact.path).exists()]
        if missing:
            report(status_event(f"{missing[0]} is gone, so step {index + 1} is done again"))
            return records[:index], None
    if records:
        report(status_event(f"Going on after {len(records)} steps that are done"))
    return records, None


def _step_result(run: Run, number: int, spec: dict[str, Any], report: Report, run_verb: RunVerb) -> Result:
    step, folder = run.recipe.steps[number - 1], run.folder(number)
    try:
        if "save_dir" in spec and folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder} is not a folder: remove what is there.")
        return run_verb(step.verb, spec, report)
    except WorkbenchError as error:
        raise WorkbenchError(
            f"Step {number} ({step.verb}) failed: {error} "
            f"What was done is kept; the same recipe with --save-dir {run.save_dir} goes on there."
        ) from error


def _described(result: Result, spec: Mapping[str, Any]) -> Result:
    """Return the result of a step with models that say what they were made from and what is known of them."""
    known = {"parent": spec["weights"], "params": result.params, "metrics": result.metrics}
    artefacts = (each.model_copy(update=known) if each.is_model else each for each in result.artefacts)
    return result.model_copy(update={"artefacts": tuple(artefacts)})


# The terminal


def run_from_terminal(request: RunRequest, report: Report) -> RunResult | RecipeList:
    """Run what ``python -m engine run`` is asked, or return the shipped recipes for ``--list``."""
    if request.list:
        return RecipeList(tuple(_listed(name, open_recipe(name)) for name in shipped_names()))
    if request.recipe is None:
        raise RecipeError(f"Say which recipe: a YAML file, or one of {', '.join(shipped_names())}.")
    recipe, folder = open_recipe(request.recipe), request.folder
    return run_recipe(recipe, request.weights, request.data, folder, request.device, report, download=request.download)


def run_text(result: RunResult | RecipeList) -> str:
    """Return the result of ``run_from_terminal`` for reading."""
    return "\n".join(_list_lines(result.root) if isinstance(result, RecipeList) else _run_lines(result))


def _listed(name: str, recipe: Recipe) -> ListedRecipe:
    return ListedRecipe(id=name, description=recipe.description, **recipe.as_dict())


def _list_lines(recipes: Sequence[ListedRecipe]) -> Iterator[str]:
    for recipe in recipes:
        yield f"{recipe.id:<12}{recipe.description}"
        yield f"{'':<12}{' -> '.join(step.verb for step in recipe.steps)}"


def _run_lines(run: RunResult) -> Iterator[str]:
    from engine.latency.text import measured_lines
    from engine.reports.comparison import comparison_table

    for number, step in enumerate(run.steps, start=1):
        result = step.result
        metrics = ", ".join(f"{metric_label(name)} {numbers.score(value)}" for name, value in result.metrics.items())
        made = [artefact.path for artefact in result.artefacts]
        yield "  ".join(filter(None, [f"{number} {step.verb:<9}", metrics, *made])).rstrip()
        if isinstance(result, PruneResult):
            yield from (f"{'':<11}  {line}" for line in measured_lines(result))
    compared = [step.result for step in run.steps if isinstance(step.result, CompareResult)]
    if compared:
        yield comparison_table(compared[-1])
    if run.stopped:
        yield f"stopped; the same recipe with --save-dir {run.save_dir} goes on there"

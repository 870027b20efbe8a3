"""What a run leaves in its folder so that it can go on: its settings, how far it came, and the trainer's state.

``run.json`` holds the settings that the run was started with and, once every epoch is trained, says so. ``state.pt`` is
the whole state after the last whole epoch. Runs of version 0.2 have none: they go on, less exactly, from the checkpoint
last.pt, of a run that was asked to stop from its copy resume.pt, and from the sparsifier's state in sparsity.pt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import load_checkpoint

from engine.base.errors import TrainingError
from engine.base.files import write_text_atomic
from engine.settings.arguments import argument_words, checked_arguments
from engine.settings.fields import fields_of
from engine.settings.requests import FinetuneRequest, SparsifyRequest, TrainRequest
from engine.settings.training import Sparsity, Training
from engine.training.settings import TrainSettings
from engine.training.state import UNREADABLE, read_state

RUN_NAME = "run.json"
STATE_NAME = "state.pt"
OLD_RESUME_NAME = "resume.pt"
OLD_SPARSITY_NAME = "sparsity.pt"
_LAYOUT = 2
"Of what lies in the folder; version 0.2 wrote none."
_FIELDS = frozenset(field.name for field in fields(TrainSettings))
_KEPT_AS = {"ultralytics": "extra", **dict.fromkeys(Sparsity.SETTINGS, "sparsity")}
"Setting -> field of ``TrainSettings`` that it becomes part of, where that has another name."


def field_of(setting: str) -> str:
    """Return the field of ``TrainSettings`` that a setting of the table becomes."""
    return _KEPT_AS.get(setting, setting)


FREE = _FIELDS & {
    field_of(name)
    for request in (TrainRequest, SparsifyRequest, FinetuneRequest)
    for name, setting in fields_of(request).items()
    if setting.option.resume == "free"
}
"What may differ when a run goes on, by the table; the weights are the same file, wherever it lies by now."
_PLACES = {"weights", "data", "save_dir", "resume"}
"Always as they are said now."


@dataclass(frozen=True)
class SavedRun:
    """How far a run came."""

    epochs_done: int
    path: Path | None
    "The whole state, or a checkpoint with the trainer's; None where no epoch was finished, or all were."
    exact: bool
    "Whether it is the whole state."
    trained: dict[str, float] | None
    "Metrics of the last epoch where every epoch is trained, else None."
    start: dict[str, float] | None = None
    "Metrics of what training began with, where every epoch is trained and they were measured."
    kept_start: bool | None = None
    "Whether best.pt is what training began with, likewise."


def note_start(settings: TrainSettings, digest: str) -> None:
    """Write down what a new run was started with; its states of an earlier run in this folder are forgotten.

    Raises:
        TrainingError: The folder holds a run that can still go on.
    """
    if (settings.save_dir / RUN_NAME).exists() and saved_run(settings.save_dir).path:
        raise TrainingError(
            f"{settings.save_dir} holds a run that has not ended; go on with it (--resume), or choose another folder."
        )
    forget_state(settings.save_dir)
    _write(settings.save_dir, {"settings": settings.as_dict(), "weights_digest": digest, "layout": _LAYOUT})


def note_stranger(settings: TrainSettings, digest: str) -> None:
    """Write down what a run goes on with of which nothing was noted when it started, as one of stock Ultralytics."""
    _write(settings.save_dir, {"settings": settings.as_dict(), "weights_digest": digest})


def note_trained(
    save_dir: Path,
    epochs: int,
    metrics: dict[str, float],
    start: dict[str, float] | None = None,
    kept_start: bool | None = None,
) -> None:
    """Write down that every epoch is trained, and what ``SavedRun`` tells of it, before anything is stripped.

    Nothing where nothing was noted at the start: the trainer was then used by itself, ``YOLO(...).train(trainer=...)``.
    """
    if noted := _read(save_dir):
        told = {"trained": metrics, "epochs_done": epochs, "start": start, "kept_start": kept_start}
        _write(save_dir, {**noted, **told})


def saved_run(save_dir: Path) -> SavedRun:
    """Return how far the run in a folder came.

    Raises:
        TrainingError: Its state is damaged.
    """
    noted = _read(save_dir)
    if noted.get("trained") is not None:
        start, kept = noted.get("start"), noted.get("kept_start")
        return SavedRun(noted["epochs_done"], None, True, noted["trained"], start, kept)
    state = save_dir / "weights" / STATE_NAME
    if state.exists():
        return SavedRun(read_state(state, lazily=True)["epochs_done"], state, exact=True, trained=None)
    found = SavedRun(0, None, exact=True, trained=None)
    if noted.get("layout") == _LAYOUT:
        return found  # a last.pt without a state is that of a first epoch that was killed at its end
    for path in (save_dir / "weights" / name for name in (OLD_RESUME_NAME, "last.pt")):
        content = _opened(path) if path.exists() else {}
        if content.get("optimizer") is not None and content.get("epoch", -1) >= found.epochs_done:
            found = SavedRun(content["epoch"] + 1, path, exact=False, trained=None)
    return found


def named_fields(request: Training) -> set[str]:
    """Return the fields of ``TrainSettings`` that a request names; a run that goes on is held to these."""
    said = {name for name, value in request.given.items() if not (name == "ultralytics" and not value)}
    return {field_of(name) for name in said} & _FIELDS


def resumed_settings(wanted: TrainSettings, given: set[str], digest: str) -> TrainSettings:
    """Return the settings that a run was started with, in its present surroundings.

    Args:
        wanted: The settings as asked for now.
        given: Names of those fields that were asked for expressly; the others are defaults.
        digest: Of the checkpoint that was named now.

    Raises:
        TrainingError: Something was asked for that differs from what the run was started with, or what was noted
            of that is no longer what a run can have.
    """
    noted = _read(wanted.save_dir)
    if not noted:
        return wanted  # killed before it had begun
    # What may differ is replaced first: the device of then need not be there now. What nobody names stays what it was,
    # and a batch that was chosen automatically is not chosen again.
    named = (given & FREE) - ({"batch"} if wanted.automatic_batch else set())
    free = {name: value for name, value in wanted.as_dict().items() if name in named | _PLACES}
    if free.get("device", "cpu") != "cpu":
        free["processes"] = wanted.processes  # a number of them is for the CPU alone
    started = _started(wanted.save_dir, noted, free)
    if noted["weights_digest"] != digest:
        raise TrainingError(
            f"The run in {wanted.save_dir} was started from another model ({Path(started.weights).name}); name that "
            "one, or choose another folder."
        )
    if (started.sparsity is None) != (wanted.sparsity is None):
        what = "was no sparse training" if started.sparsity is None else "was a sparse training (sparsify)"
        raise TrainingError(f"The run in {wanted.save_dir} {what}; go on with it as such.")
    if started.teacher and not Path(started.teacher).exists():
        raise TrainingError(f"The teacher of this run, {started.teacher}, is gone; put it back to go on.")
    for name in sorted(given - FREE):
        if getattr(started, name) != getattr(wanted, name):
            raise TrainingError(
                f"The run in {wanted.save_dir} was started with {_differing(started, name)}; "
                "leave it out to go on, or start a new run."
            )
    return started


def _started(save_dir: Path, noted: dict[str, Any], free: dict[str, Any]) -> TrainSettings:
    """Return the noted settings with others in some places; what stands in a file is checked like what is typed."""
    try:
        values = {**noted["settings"], **free}
        verb = "sparsify" if values["sparsity"] else "train"
        values["extra"] = checked_arguments(values.get("extra"), verb)
        return TrainSettings.from_dict(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainingError(UNREADABLE.format(path=save_dir / RUN_NAME)) from error


def _differing(started: TrainSettings, name: str) -> str:
    if name != "extra":
        return f"another {name} ({getattr(started, name)})"
    return f"other Ultralytics arguments ({' '.join(argument_words(started.extra)) or 'none'})"


def forget_state(save_dir: Path) -> None:
    """Remove the states from which a run could have gone on, once nothing needs them."""
    for name in (STATE_NAME, OLD_RESUME_NAME, OLD_SPARSITY_NAME):
        (save_dir / "weights" / name).unlink(missing_ok=True)


def forget_unfinished_epochs(save_dir: Path, epochs_done: int) -> None:
    """Drop from results.csv what an epoch that is done again left there; the whole state does without."""
    results = save_dir / "results.csv"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    if lines:
        header, *rows = lines
        kept = {epoch: row for row in rows if (epoch := _epoch_of(row)) and epoch <= epochs_done}
        write_text_atomic(results, "\n".join([header, *kept.values()]) + "\n")


def _epoch_of(row: str) -> int | None:
    """Return the epoch of a row of results.csv, None where a killed run wrote only the beginning of one."""
    try:
        return int(float(row.split(",")[0]))
    except ValueError:
        return None


def _opened(path: Path) -> dict[str, Any]:
    try:
        return load_checkpoint(path)[1]
    except Exception as error:  # the loader lets through whatever a damaged file provokes
        raise TrainingError(UNREADABLE.format(path=path)) from error


def _write(save_dir: Path, values: dict[str, Any]) -> None:
    write_text_atomic(save_dir / RUN_NAME, json.dumps(values, indent=2))


def _read(save_dir: Path) -> dict[str, Any]:
    """Return what was noted of a run, nothing where nothing was."""
    path = save_dir / RUN_NAME
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainingError(UNREADABLE.format(path=path)) from error
    if not isinstance(noted, dict):
        raise TrainingError(UNREADABLE.format(path=path))
    return noted

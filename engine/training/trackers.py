"""Experiment trackers: Ultralytics' own integrations, switched on for one run in its process alone.

They are off unless a run names them; a person's settings are never written. Ultralytics logs losses, metrics and
learning rates to them; what is added here is what sparse training is about, the gammas. A tracker that fails costs its
own records, never the training.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import TrainingError
from engine.settings.verb_facts import TRACKERS

_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
    "comet": ("comet_ml", "comet_ml"),
    "clearml": ("clearml", "clearml"),
    "dvc": ("dvclive", "dvclive"),
}
"Tracker -> the module that Ultralytics imports, the package that holds it."
_CALLBACKS = "ultralytics.utils.callbacks."
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "WANDB_INIT_TIMEOUT": "20"}
"How long a server may keep a training waiting, in tries and seconds, where the person has not said so."


@dataclass(frozen=True)
class GammaRecord:
    """The gammas of a model after an epoch."""

    values: np.ndarray
    "(C,) |gamma| of all BatchNorm layers."
    strength: float | None = None
    "Of the penalty at that point of the run; None where there is none."

    def scalars(self) -> dict[str, float]:
        """Return what is shown as curves."""
        p10, median, p90 = (float(value) for value in np.percentile(self.values, [10, 50, 90]))
        told = {
            "sparsity/gammas_at_zero": float((self.values == 0).mean()),
            "sparsity/gammas_below_1e-2": float((self.values < 1e-2).mean()),
            "sparsity/gamma_p10": p10,
            "sparsity/gamma_median": median,
            "sparsity/gamma_p90": p90,
        }
        return told if self.strength is None else {**told, "sparsity/penalty_strength": self.strength}


def available_trackers() -> list[str]:
    """Return the trackers whose package is installed."""
    return [name for name in TRACKERS if importlib.util.find_spec(_PACKAGES[name][0]) is not None]


def check_trackers(names: Sequence[str]) -> None:
    """Refuse those of ``TRACKERS`` that this machine does not have.

    Raises:
        TrainingError: Says what to install.
    """
    for name in names:
        module, package = _PACKAGES[name]
        if importlib.util.find_spec(module) is None:
            raise TrainingError(f"The tracker {name} needs the package {package}: pip install {package}.")


@contextlib.contextmanager
def tracked(names: Sequence[str], save_dir: Path) -> Iterator[None]:
    """Let the trainer that is built inside the block record itself; afterwards everything is as it was.

    MLflow writes where MLFLOW_TRACKING_URI says, else into SAVE_DIR/mlflow; TensorBoard into SAVE_DIR.
    """
    if not names:
        yield
        return
    from ultralytics.utils import SETTINGS

    before = {name: SETTINGS[name] for name in TRACKERS}
    environment = {key: os.environ.get(key) for key in (*_PATIENCE, *_mlflow_environment(save_dir))}
    for key, value in {**_PATIENCE, **(_mlflow_environment(save_dir) if "mlflow" in names else {})}.items():
        os.environ.setdefault(key, value)
    dict.update(SETTINGS, {name: name in names for name in TRACKERS})  # the class's own update() would write the file
    try:
        yield
    finally:
        dict.update(SETTINGS, before)
        for key, earlier in environment.items():
            os.environ.pop(key, None) if earlier is None else os.environ.__setitem__(key, earlier)


def _mlflow_environment(save_dir: Path) -> dict[str, str]:
    folder = (save_dir.resolve() / "mlflow").as_uri()
    # Without the second one a recent MLflow refuses to write files.
    return {"MLFLOW_TRACKING_URI": folder, "MLFLOW_ALLOW_FILE_STORE": "true"}


def tracker_of(callback: Callable[..., Any]) -> str | None:
    """Return the tracker that a callback of a trainer belongs to, None for any other callback."""
    module = getattr(callback, "__module__", "") or ""
    name = module.removeprefix(_CALLBACKS) if module.startswith(_CALLBACKS) else ""
    name = "wandb" if name == "wb" else name
    return name if name in TRACKERS else None


def log_gammas(trainer: Any, names: Sequence[str], record: GammaRecord) -> dict[str, str]:
    """Add the gammas of an epoch to the records of a run.

    Returns:
        Tracker -> why it could not, for those that failed.
    """
    failed = {}
    for name in names:
        try:
            _LOGGERS[name](trainer, record.scalars(), record.values)
        except Exception as error:  # whatever a tracker's client raises: the training goes on
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return failed


def _tensorboard(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    from ultralytics.utils.callbacks import tensorboard

    if tensorboard.WRITER:
        for name, value in scalars.items():
            tensorboard.WRITER.add_scalar(name, value, trainer.epoch + 1)
        tensorboard.WRITER.add_histogram("sparsity/gammas", values, trainer.epoch + 1)


def _mlflow(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    import mlflow

    if getattr(trainer, "_mlflow_active", False):
        mlflow.log_metrics(dict(scalars), step=trainer.epoch)


def _wandb(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    import wandb

    if wandb.run:
        told = {**scalars, "sparsity/gammas": wandb.Histogram(values), "epoch": trainer.epoch + 1}
        wandb.run.log(told, commit=False)  # Ultralytics' own callback ends the step


def _comet(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    import comet_ml

    if experiment := comet_ml.get_running_experiment():
        step = (trainer.epoch + 1) * len(trainer.train_loader)
        experiment.log_metrics(dict(scalars), step=step, epoch=trainer.epoch + 1)
        experiment.log_histogram_3d(values, name="sparsity/gammas", step=step, epoch=trainer.epoch + 1)


def _clearml(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    from clearml import Task

    if task := Task.current_task():
        for name, value in scalars.items():
            title, _, series = name.partition("/")
            task.get_logger().report_scalar(title, series, value, iteration=trainer.epoch)


def _dvc(trainer: Any, scalars: Mapping[str, float], values: np.ndarray) -> None:
    from ultralytics.utils.callbacks import dvc

    if dvc.live:
        for name, value in scalars.items():
            dvc.live.log_metric(name, value)


_LOGGERS: dict[str, Callable[[Any, Mapping[str, float], np.ndarray], None]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
    "comet": _comet,
    "clearml": _clearml,
    "dvc": _dvc,
}

"""What the verbs share: the checkpoint that a request names, and where it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.errors import TrainingError
from engine.base.events import Report, status_event
from engine.base.files import expanded
from engine.settings.results import DataFit
from engine.settings.where import Device, InWorkspace

if TYPE_CHECKING:
    from engine.workspace.store import StoredMeasurements


def chosen_device(request: Device) -> str:
    """Return the device that is asked for, else the first GPU, else the CPU."""
    from engine.base.devices import default_device

    return request.device or default_device()


def resolve_weights(name: str) -> Path:
    """Return the path of a checkpoint given by path, or by an official name, which is downloaded on first use."""
    path = expanded(name)
    if os.path.exists(path):  # unlike Path.exists, it takes any text
        return path
    from engine.checkpoints.official import fetch_official_weights, is_official_name

    return fetch_official_weights(name, Path.cwd()) if is_official_name(name) else path


def measurements(request: InWorkspace) -> StoredMeasurements | None:
    """Return what is known to have been measured in the workspace that a job runs in, None on the terminal."""
    if request.workspace is None:
        return None
    from engine.workspace.store import Store, StoredMeasurements

    return StoredMeasurements(Store(request.workspace))


def told_fit(fit: Any, report: Report) -> DataFit:
    """Return how a model and a data set go together (``engine.datasets.fit.Fit``) for a result; a status says it."""
    if fit.sentence:
        report(status_event(fit.sentence))
    return fit.told()


def starting_point(name: str, *, scratch_allowed: bool) -> tuple[str, str, int]:
    """Return (weights for Ultralytics, task, image size) of a checkpoint, or of a model YAML to train from scratch."""
    if scratch_allowed and str(name).endswith((".yaml", ".yml")):
        import yaml
        from ultralytics.nn.tasks import guess_model_task, yaml_model_load

        try:
            return str(name), guess_model_task(yaml_model_load(name)), 640
        except FileNotFoundError as error:
            raise TrainingError(f"There is no model description {name}; yolov8n.yaml is one that works.") from error
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"{name} is no model description; yolov8n.yaml is one that works.") from error
    from engine.checkpoints.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(resolve_weights(name))
    return str(checkpoint.path.resolve()), checkpoint.task, checkpoint.imgsz

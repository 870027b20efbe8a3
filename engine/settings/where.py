"""Settings that say where: the model, the data set, the device, and the folder of what is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from engine.settings.fields import FilePath, Option, Request, SettingsError, Switch, Text, Whole, missing

PLUMBING = frozenset({"chain", "workspace", "measurements", "save_dir", "resume", "download", "device"})
"What says how a job runs, such as its place in line for a device: a verb that does not know it passes over it."

Weights = Annotated[
    FilePath,
    Option("checkpoint, or an official name (yolov8n.pt)", label="Model", metavar="PT", resume="free"),
]
SeveralWeights = Annotated[
    tuple[FilePath, ...],
    Field(min_length=1),
    Option("checkpoints, or official names (yolov8n.pt)", label="Models", metavar="PT"),
]
_DATA = Option(
    "data set description, or a name that Ultralytics knows (coco8.yaml)",
    label="Data set",
    metavar="YAML",
    resume="free",
)


class Model(Request):
    """One checkpoint."""

    weights: Weights


class Models(Request):
    """One checkpoint or more."""

    weights: SeveralWeights


class MayData(Request):
    """A data set that the verb can do without."""

    data: Annotated[FilePath | None, _DATA] = None
    download: Annotated[
        Switch,
        Option("fetch the images of a name that Ultralytics knows, where missing", label="Download", resume="free"),
    ] = False


class Data(MayData):
    """A data set that the verb cannot do without."""

    data: Annotated[FilePath, _DATA]


class Device(Request):
    """What computes."""

    device: Annotated[
        Text | None,
        Option(
            "cpu, 0, or 0,1 for two GPUs",
            label="Device",
            more="One job at a time uses a device.",
            metavar="D",
            usual="the first GPU, else cpu",
            resume="free",
        ),
    ] = None


class Batch(Request):
    """Images that go through a model at a time where it is measured."""

    batch: Annotated[
        Whole,
        Field(ge=1),
        Option(
            "images a batch",
            label="Batch",
            more="Lower it when memory runs out.",
            metavar="N",
            unit="images",
            most=512,
        ),
    ] = 16


class Saves(Request):
    """The folder of what is made, named here or as in Ultralytics."""

    save_dir: Annotated[
        FilePath | None,
        Option(
            "folder for what is made",
            label="Folder",
            metavar="DIR",
            usual="a new one below ./runs",
            resume="free",
        ),
    ] = None
    project: Annotated[
        FilePath | None,
        Option(
            "or, as in Ultralytics: the folder that --name lies in",
            metavar="DIR",
            usual="runs",
            resume="free",
        ),
    ] = None
    name: Annotated[
        FilePath | None,
        Option("of the folder below --project; -2, -3, ... where it exists", metavar="NAME", resume="free"),
    ] = None
    exist_ok: Annotated[Switch, Option("write into the folder of --name though it exists", resume="free")] = False

    @property
    def folder(self) -> Path:
        """The folder of what is made.

        Raises:
            SettingsError: None is named.
        """
        if self.save_dir is None:
            raise SettingsError(missing("--save-dir"))
        return Path(self.save_dir)


# Of jobs: nobody types it


class Chain(Request):
    """What a step of a chain is told of the steps before it."""

    base: FilePath
    "The model that the chain starts from."
    made: tuple[FilePath, ...] = ()
    "Those that it made, in order."


class Chained(Request):
    """The chain that a job is a step of; None where a person chose the model."""

    chain: Chain | None = None


class InWorkspace(Request):
    """The workspace that a job runs in; None on the terminal."""

    workspace: FilePath | None = None


class KeepsMeasurements(Request):
    """The folder in which a workspace keeps what was measured of plans; None: with what the verb makes."""

    measurements: FilePath | None = None

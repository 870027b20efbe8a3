"""The table of settings: what every verb can be asked, as one model a verb, composed of settings that verbs share.

Fields stand in the order of the bases from the last to the first, then of the class itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from engine.base.errors import WorkbenchError
from engine.base.numbers import GFLOPS_IMGSZ
from engine.settings.choices import FORMATS, PRECISIONS, RUNTIMES
from engine.settings.fields import Choices, FilePath, Number, Option, Request, Side, Size, Switch, Text, Whole
from engine.settings.plan import MAX_RATIO, RECALIBRATION_IMAGES, Measured, PlanSettings, Repair
from engine.settings.training import (
    TRAILS_LESS,
    Arguments,
    Epochs,
    LearningRate,
    Momentum,
    Patience,
    Sparsity,
    Teacher,
    Training,
)
from engine.settings.where import (
    PLUMBING,
    Batch,
    Chained,
    Data,
    Device,
    InWorkspace,
    KeepsMeasurements,
    MayData,
    Model,
    Models,
    Saves,
)

_COUNTED = Option(
    "image size that GFLOPs are counted at, multiples of 32; or height,width: 384,640",
    label="Image size",
    metavar="PX",
    unit="px",
)
_TRAINED = Option(
    "longer image side, rounded up to the model's stride",
    label="Image size",
    metavar="PX",
    usual="the checkpoint's own",
    unit="px",
    most=2048,
    step=32,
)
_RUN = Option(
    "image size, rounded up to the model's stride; or height,width: 384,640",
    label="Image size",
    metavar="PX",
    usual="the checkpoint's own",
    unit="px",
)
ImageSide = Annotated[Side | None, Field(ge=32), _TRAINED]
RunSize = Annotated[Size | None, _RUN]
Split = Annotated[Literal["train", "val", "test"], Option("which images to measure on", label="Split")]
Reference = Annotated[FilePath | None, Option("model that changes are relative to", metavar="PT", usual="the first")]


class VerbRequest(Request):
    """What one verb is asked; ``read`` passes over what only says how a job runs."""

    PASSED_OVER: ClassVar[frozenset[str]] = PLUMBING
    ABOUT: ClassVar[str] = ""
    "What the verb does, in a clause."


class InspectRequest(Model, VerbRequest):
    ABOUT = "describe a checkpoint and its gammas"

    imgsz: Annotated[Size, _COUNTED] = GFLOPS_IMGSZ


_LOOKED_AT = Option("data set of criteria that look at images", label="Data set", metavar="YAML")


class PreviewRequest(PlanSettings, MayData, Model, InWorkspace, VerbRequest):
    ABOUT = "say what pruning at a ratio would give"

    data: Annotated[FilePath | None, _LOOKED_AT] = None


class AccuracyRequest(Measured, Saves, Batch, Device, Data, Model, KeepsMeasurements, InWorkspace, VerbRequest):
    ABOUT = "measure accuracy directly after pruning, at a grid of ratios"
    PASSED_OVER = PLUMBING | {"prune_ratio", "max_params", "max_gflops", "target_latency", "threads"}

    imgsz: ImageSide = None
    ratios: Annotated[
        tuple[Annotated[Number, Field(ge=0, le=MAX_RATIO)], ...],
        Option("where to measure", label="Ratios", metavar="R", unit="share"),
    ] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    recalibrate: Annotated[
        Whole | None,
        Field(ge=0),
        Option(
            "re-estimate BatchNorm on N training images after each cut",
            label="Recalibrate on so many",
            more="0: not at all.",
            metavar="N",
            usual=f"{RECALIBRATION_IMAGES}, but 0 for a cut of gammas that are all zero",
            unit="images",
            most=1024,
            step=16,
        ),
    ] = None


class SensitivityRequest(Measured, Saves, Batch, Device, Data, Model, KeepsMeasurements, InWorkspace, VerbRequest):
    ABOUT = "measure accuracy with each block of layers pruned alone"
    PASSED_OVER = AccuracyRequest.PASSED_OVER

    imgsz: ImageSide = None
    shares: Annotated[
        tuple[Annotated[Number, Field(gt=0, lt=1)], ...],
        Option("of a block's channels", label="Shares", metavar="S", unit="share"),
    ] = (0.25, 0.5, 0.75)
    recalibrate: Annotated[
        Whole,
        Field(ge=0),
        Option(
            "re-estimate BatchNorm on N training images after each cut",
            label="Recalibrate on so many",
            more="0: not at all.",
            metavar="N",
            unit="images",
            most=1024,
            step=16,
        ),
    ] = RECALIBRATION_IMAGES


class PruneRequest(Repair, Saves, PlanSettings, MayData, Model, Chained, InWorkspace, VerbRequest):
    ABOUT = "write SAVE_DIR/pruned.pt, a physically smaller model"

    data: Annotated[
        FilePath | None,
        Option("data set of --recalibrate and of criteria that look at images", label="Data set", metavar="YAML"),
    ] = None
    check_latency: Annotated[
        Switch,
        Option(
            "time the model that --target-latency gave",
            label="Time the pruned model",
            flag="--no-latency-check",
        ),
    ] = True


class TrainRequest(Training, Model, Chained, InWorkspace, VerbRequest):
    ABOUT = "plain training"

    imgsz: ImageSide = None
    sr: Annotated[
        Number,
        Field(ge=0, le=0),
        Option(
            "strength of a penalty; 0 alone, for there is none here",
            metavar="S",
            why="plain training has no penalty; use sparse training (sparsify)",
            resume="refused",
        ),
    ] = 0.0


class SparsifyRequest(Sparsity, Training, Model, Chained, InWorkspace, VerbRequest):
    ABOUT = "sparse training: drive the gammas of unimportant channels to zero"

    imgsz: ImageSide = None
    epochs: Epochs = 50
    bn_momentum: Momentum = TRAILS_LESS
    patience: Patience = 0
    "Accuracy falls while channels fade, so a sparse run that stops early stops before it is sparse."


class FinetuneRequest(Teacher, Training, Model, Chained, InWorkspace, VerbRequest):
    ABOUT = "train a pruned model; it keeps its shape"

    imgsz: ImageSide = None
    epochs: Epochs = 50
    lr0: LearningRate = 0.005
    bn_momentum: Momentum = TRAILS_LESS
    cos_lr: Annotated[
        Switch,
        Option(
            "let the learning rate fall along a cosine instead of a line",
            label="Cosine schedule",
            terminal=False,
        ),
    ] = True


class ValRequest(Arguments, Batch, Device, Data, Model, Chained, InWorkspace, VerbRequest):
    ABOUT = "measure accuracy on a split of a data set"

    imgsz: ImageSide = None
    split: Split = "val"


class CompareRequest(Batch, Device, Data, Models, Chained, InWorkspace, VerbRequest):
    ABOUT = "measure models side by side: size, cost, accuracy, and the change of each"

    imgsz: ImageSide = None
    split: Split = "val"
    reference: Reference = None
    gflops_imgsz: Annotated[
        Size,
        Option(
            "image size that GFLOPs are counted at",
            label="Image size for costs",
            metavar="PX",
            unit="px",
        ),
    ] = GFLOPS_IMGSZ
    latency: Annotated[Switch, Option("time them too, in turns in ONNX Runtime on the CPU", label="Latency")] = False


class ExportRequest(Saves, MayData, Model, Chained, VerbRequest):
    ABOUT = "write an ONNX (or other) file, checked and compared with the PyTorch model"

    imgsz: RunSize = None
    opset: Annotated[
        Whole | None,
        Field(ge=1),
        Option(
            "ONNX operator set",
            label="Opset",
            more="Choose an older one only if your runtime asks for it.",
            metavar="N",
            usual="the exporter's choice",
        ),
    ] = None
    dynamic: Annotated[Switch, Option("accept any batch and image size; not with --nms", label="Dynamic shapes")] = (
        False
    )
    format: Annotated[Text, Choices(tuple(FORMATS)), Option("of the file", label="Format")] = "onnx"
    precision: Annotated[Text, Choices(PRECISIONS), Option("of weights and activations", label="Precision")] = "fp32"
    nms: Annotated[Switch, Option("put non-maximum suppression into the file", label="Suppress boxes")] = False
    head: Annotated[
        Literal["end2end", "one-to-many"] | None,
        Option(
            "of models that have two (YOLOv10, YOLO26): final boxes, or boxes to suppress",
            label="Head",
            usual="end2end; with --nms one-to-many",
        ),
    ] = None
    simplify: Annotated[
        Switch,
        Option(
            "let onnxslim fold constants and remove what is not needed",
            label="Simplify",
        ),
    ] = True
    data: Annotated[
        FilePath | None,
        Option(
            "data set that calibrates int8 and that the file is checked on",
            label="Data set",
            metavar="YAML",
        ),
    ] = None
    strict: Annotated[Switch, Option("exit code 2 unless it passes; an older file then stays", label="Strict")] = False


class LatencyRequest(Models, VerbRequest):
    ABOUT = "measure models side by side on this machine: milliseconds an image"

    imgsz: RunSize = None
    runtime: Annotated[
        tuple[Annotated[Text, Choices(tuple(RUNTIMES))], ...],
        Field(min_length=1),
        Option("what runs them; all but cuda: on the CPU", label="Runtimes"),
    ] = ("onnx",)
    threads: Annotated[
        Whole | None,
        Field(ge=1),
        Option("of the runtime", label="Threads", metavar="N", usual="every core", unit="threads"),
    ] = None
    repeats: Annotated[
        Whole,
        Field(ge=5),
        Option("timed runs of each model", label="Repeats", metavar="N", unit="runs"),
    ] = 100
    predict: Annotated[
        Switch,
        Option("measure instead what --target-latency needs to know of each model", label="Predict"),
    ] = False


class ReportRequest(Saves, MayData, Model, VerbRequest):
    ABOUT = "write SAVE_DIR/report.html, everything about one model in one file"

    imgsz: Annotated[
        Side | None,
        Option("does nothing here: a report tells the sizes that were measured", metavar="PX", unit="px"),
    ] = None
    data: Annotated[FilePath | None, Option("data set for sample predictions", label="Data set", metavar="YAML")] = None
    workspace: Annotated[FilePath | None, Option("workspace that knows the model's ancestors", metavar="DIR")] = None
    reference: Annotated[
        FilePath | None, Option("model to hold it against where no workspace is given", metavar="PT")
    ] = None


class RunRequest(Saves, MayData, VerbRequest):
    ABOUT = "run a recipe: the steps of one YAML file, one after another"

    recipe: Annotated[FilePath | None, Option("a YAML file, or the name of a shipped recipe", metavar="RECIPE")] = None
    list: Annotated[Switch, Option("print the shipped recipes and end")] = False
    weights: Annotated[FilePath | None, Option("model to start from", metavar="PT", usual="the recipe's own")] = None
    data: Annotated[FilePath | None, Option("data set description", metavar="YAML", usual="the recipe's own")] = None
    device: Annotated[
        Text | None,
        Option("cpu, 0, or 0,1 for two GPUs", metavar="D", usual="the recipe's own, else the first GPU, else cpu"),
    ] = None
    save_dir: Annotated[
        FilePath | None,
        Option(
            "folder for what is made; one begun before goes on",
            label="Folder",
            metavar="DIR",
            usual="a new one below ./runs",
        ),
    ] = None


REQUESTS: dict[str, type[VerbRequest]] = {
    "inspect": InspectRequest,
    "preview": PreviewRequest,
    "accuracy": AccuracyRequest,
    "sensitivity": SensitivityRequest,
    "prune": PruneRequest,
    "train": TrainRequest,
    "sparsify": SparsifyRequest,
    "finetune": FinetuneRequest,
    "val": ValRequest,
    "compare": CompareRequest,
    "export": ExportRequest,
    "latency": LatencyRequest,
    "report": ReportRequest,
}
"Verb -> what it can be asked."


def request_of(verb: str) -> type[VerbRequest]:
    """Return what a verb can be asked; raises WorkbenchError for a verb that there is not."""
    if verb not in REQUESTS:
        raise WorkbenchError(f"There is no verb {verb!r}; the verbs are {', '.join(REQUESTS)}.")
    return REQUESTS[verb]


def read_request(verb: str, spec: Mapping[str, Any]) -> VerbRequest:
    """Return the request that a verb's specification makes.

    Raises:
        SettingsError: a setting is missing, unknown, of the wrong type or out of bounds.
        WorkbenchError: there is no such verb.
    """
    request: VerbRequest = request_of(verb).read(spec, verb)
    return request

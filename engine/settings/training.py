"""Settings of a training: data, schedule, optimizer, and what sparse training aims at."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from engine.base.numbers import GFLOPS_IMGSZ
from engine.settings.arguments import parsed_arguments
from engine.settings.choices import OPTIMIZERS
from engine.settings.fields import (
    ArgumentWords,
    Batch,
    Choices,
    FilePath,
    Number,
    Option,
    Request,
    Size,
    Switch,
    Text,
    Whole,
)
from engine.settings.plan import MAX_RATIO
from engine.settings.verb_facts import TRACKERS
from engine.settings.where import Data, Device, Saves

Epochs = Annotated[
    Whole,
    Field(ge=1),
    Option("passes over the training images", label="Epochs", metavar="N", unit="epochs", most=1000),
]
LearningRate = Annotated[
    Number,
    Field(gt=0, le=1),
    Option(
        "initial learning rate",
        label="Learning rate",
        more="It falls over the run. AdamW wants about a tenth of what SGD does.",
        metavar="LR",
        least=0.00001,
        step=0.001,
    ),
]
Momentum = Annotated[
    Number | None,
    Field(gt=0, le=1),
    Option(
        "share of each batch in BatchNorm's running statistics while training",
        label="BatchNorm momentum",
        advanced=True,
        more="With the 0.03 of Ultralytics they trail the weights by some 33 steps, which counts where channels fade "
        "and in short runs. The model that comes out keeps its own.",
        metavar="M",
        least=0.001,
        step=0.01,
    ),
]
TRAILS_LESS = 0.3
"Momentum of BatchNorm where weights move fast: statistics follow within three batches."
Patience = Annotated[
    Whole,
    Field(ge=0),
    Option(
        "epochs without a better score before stopping, 0: never",
        label="Patience",
        advanced=True,
        metavar="N",
        unit="epochs",
        most=1000,
    ),
]
Strength = Annotated[
    Number,
    Field(gt=0),
    Option(
        "proximal, classic: strength of the L1 penalty",
        label="Strength",
        more="How hard gammas are pulled towards zero. Too little reaches no zero, too much flattens all of them.",
        metavar="S",
        why="a penalty of 0 does nothing; use plain training (train), which has none",
        least=0.00001,
        most=1000,
        step=0.001,
    ),
]


class Arguments(Request):
    """Ultralytics' own arguments, besides those that are settings of ours."""

    ultralytics: Annotated[
        ArgumentWords,
        Option(
            "any other argument of Ultralytics, as on its own command line: mosaic=0.5 freeze=10 cache=ram",
            label="More Ultralytics arguments",
            more="Ultralytics itself checks them.",
            metavar="KEY=VALUE",
        ),
    ] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """By name, once ``engine.settings.arguments.merged_request`` has checked them."""
        return dict(self.ultralytics) if isinstance(self.ultralytics, dict) else parsed_arguments(self.ultralytics)


class Training(Arguments, Saves, Device, Data):
    """What every training is asked for; epochs, learning rate and patience are the verb's own."""

    batch: Annotated[
        Batch,
        Option(
            "images a batch; -1 or a share such as 0.7: what fits into the GPU's memory, AutoBatch",
            label="Batch",
            more="Lower it when memory runs out.",
            metavar="N",
            unit="images",
            least=1,
            most=512,
            step=1,
            resume="free",
        ),
    ] = 16
    epochs: Epochs = 100
    optimizer: Annotated[
        Text,
        Choices(OPTIMIZERS, any_case=True),
        Option(
            "what takes the steps; auto ignores --lr0",
            label="Optimizer",
            metavar="NAME",
        ),
    ] = "SGD"
    nbs: Annotated[
        Whole,
        Field(ge=1),
        Option(
            "images whose gradients are gathered before the optimizer takes a step",
            label="Nominal batch",
            advanced=True,
            more="A smaller one gives more steps.",
            metavar="N",
            unit="images",
            most=1024,
        ),
    ] = 64
    lr0: LearningRate = 0.01
    cos_lr: Annotated[
        Switch,
        Option(
            "let the learning rate fall along a cosine instead of a line",
            label="Cosine schedule",
            terminal=False,
        ),
    ] = False
    bn_momentum: Momentum = None
    workers: Annotated[
        Whole,
        Field(ge=0),
        Option(
            "processes that load images for a GPU",
            label="Loader processes",
            advanced=True,
            more="0 loads them in the training's own and takes the least memory.",
            metavar="N",
            unit="processes",
            most=32,
            resume="free",
        ),
    ] = 2
    patience: Patience = 100
    seed: Annotated[
        Whole,
        Field(ge=0),
        Option(
            "start of all random numbers",
            label="Seed",
            advanced=True,
            more="Another one gives another run.",
            metavar="N",
            most=2**31 - 1,
        ),
    ] = 0
    processes: Annotated[
        Whole,
        Field(ge=1, le=64),
        Option(
            "training processes with --device cpu",
            label="Training processes",
            metavar="N",
            unit="processes",
            resume="free",
        ),
    ] = 1
    tracker: Annotated[
        tuple[Annotated[Text, Choices(TRACKERS)], ...],
        Option(
            "record the run there too",
            label="Experiment trackers",
            more="With its gammas. TensorBoard and MLflow write into the run's folder, MLflow to its server where one "
            "is set up.",
            repeatable=True,
            resume="free",
        ),
    ] = ()
    resume: Annotated[
        Switch, Option("go on with the run that ended early in --save-dir", label="Go on", resume="free")
    ] = False


class Sparsity(Request):
    """How sparse training drives gammas to zero, and which."""

    SETTINGS: ClassVar[tuple[str, ...]] = (
        "method",
        "prune_ratio",
        "max_params",
        "max_gflops",
        "budget_imgsz",
        "sr",
        "schedule",
        "sr_warmup",
    )
    TARGETS: ClassVar[tuple[str, ...]] = ("prune_ratio", "max_params", "max_gflops")
    PENALTY: ClassVar[tuple[str, ...]] = ("sr", "schedule", "sr_warmup")

    method: Annotated[
        Literal["targeted", "proximal", "classic"],
        Option("how gammas are driven to zero", label="Method", usual="targeted; proximal if --sr is given"),
    ] = "targeted"
    prune_ratio: Annotated[
        Number,
        Field(gt=0, le=MAX_RATIO),
        Option(
            "targeted: share of the prunable channels that ends at zero",
            label="Ratio",
            more="Prune at the same ratio afterwards.",
            metavar="R",
            unit="share",
            least=0.05,
            step=0.05,
        ),
    ] = 0.5
    max_params: Annotated[
        Whole | None,
        Field(ge=1),
        Option(
            "or: so many that at most N parameters remain",
            label="Parameters at most",
            more="Once its channels at zero are pruned.",
            metavar="N",
            unit="parameters",
        ),
    ] = None
    max_gflops: Annotated[
        Number | None,
        Field(gt=0),
        Option(
            "or: so many that at most F GFLOPs remain",
            label="GFLOPs at most",
            more="Once its channels at zero are pruned.",
            metavar="F",
            unit="GFLOPs",
            least=0.001,
        ),
    ] = None
    budget_imgsz: Annotated[
        Size, Option("image size of --max-gflops", label="Image size of the budget", metavar="PX", unit="px")
    ] = GFLOPS_IMGSZ
    sr: Strength = 0.01
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Option(
            "how the strength runs over the training: constant, or falling to a tenth by its end",
            label="Schedule",
        ),
    ] = "constant"
    sr_warmup: Annotated[
        Number,
        Field(ge=0, le=0.5),
        Option(
            "share of the run over which the strength first rises from zero",
            label="Warm-up",
            metavar="S",
            unit="share",
            step=0.05,
        ),
    ] = 0.0


class Teacher(Request):
    """What fine-tuning looks at besides the pruned model."""

    teacher: Annotated[
        FilePath | None,
        Option(
            "dense model that this one was pruned from, to distil from it",
            label="Distill from",
            more="Its features guide the smaller one. Often a bit more accurate; every epoch takes longer.",
            metavar="PT",
        ),
    ] = None
    reference: Annotated[
        FilePath | None,
        Option("dense model to measure beside the result", metavar="PT", resume="free"),
    ] = None

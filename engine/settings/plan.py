"""Settings of a plan: what to prune to, how channels are scored, and what bounds it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.base.numbers import GFLOPS_IMGSZ
from engine.settings.choices import CRITERIA, DATA_CRITERION, IMAGE_CRITERIA, USUAL_CRITERION
from engine.settings.fields import Choices, Number, Option, Request, Size, Switch, Text, Whole

MAX_RATIO = 0.95
"Beyond it layers would be left empty."
_TARGET, _SCORES, _LIMITS = "what to prune to", "how channels are scored", "limits"

RECALIBRATION_IMAGES = 32
"Training images that BatchNorm is estimated on again, where that is done without a number being said."


class Target(Request):
    """What to prune to: a ratio or a budget."""

    prune_ratio: Annotated[
        Number | None,
        Field(ge=0, le=MAX_RATIO),
        Option(
            "share of the prunable channels to remove",
            label="Prune ratio",
            more="The least important go first.",
            metavar="R",
            group=_TARGET,
            unit="share",
            why=f"0 removes nothing, and beyond {MAX_RATIO} layers would be left empty",
            step=0.01,
        ),
    ] = None
    max_params: Annotated[
        Whole | None,
        Field(ge=1),
        Option(
            "or: at most so many parameters",
            label="At most so many parameters",
            more="The plan comes as close to this as it can, from below.",
            metavar="N",
            group=_TARGET,
            unit="parameters",
        ),
    ] = None
    max_gflops: Annotated[
        Number | None,
        Field(gt=0),
        Option(
            "or: at most so many GFLOPs at --imgsz",
            label="At most so many GFLOPs",
            more="The plan comes as close to this as it can, from below.",
            metavar="F",
            group=_TARGET,
            unit="GFLOPs",
            least=0.001,
        ),
    ] = None
    target_latency: Annotated[
        Number | None,
        Field(gt=0),
        Option(
            "or: at most so many milliseconds an image on this machine",
            label="At most so many milliseconds",
            metavar="MS",
            group=_TARGET,
            unit="ms",
        ),
    ] = None
    threads: Annotated[
        Whole | None,
        Field(ge=1),
        Option("of --target-latency", metavar="N", usual="every core", group=_TARGET, unit="threads"),
    ] = None


class Scores(Request):
    """How channels are scored."""

    criterion: Annotated[
        Annotated[Text, Choices(tuple(CRITERIA))] | None,
        Option(
            "what makes a channel important",
            label="Criterion",
            usual=f"{DATA_CRITERION} for a model that was never sparse-trained where --data is given, "
            f"else {USUAL_CRITERION}",
            group=_SCORES,
        ),
    ] = None
    score_images: Annotated[
        Whole,
        Field(ge=1),
        Option(
            f"training images that {', '.join(IMAGE_CRITERIA)} look at, drawn with a fixed seed",
            label="Images to score on",
            metavar="N",
            group=_SCORES,
            unit="images",
            most=1024,
            step=16,
        ),
    ] = 64
    aggregate: Annotated[
        Literal["mean", "max", "sum"],
        Option("how the scores of tied channels become one", label="Tied channels", group=_SCORES),
    ] = "mean"
    per_layer: Annotated[
        Switch,
        Option(
            "divide scores by their layer's mean",
            label="Relative to the layer",
            more="Layers then compete on equal terms.",
            group=_SCORES,
        ),
    ] = False
    per_flop: Annotated[
        Switch,
        Option(
            "divide scores by the FLOPs that removal saves",
            label="Per FLOP",
            more="A budget is then spent where it buys most.",
            group=_SCORES,
        ),
    ] = False
    seed: Annotated[
        Whole,
        Field(ge=0),
        Option("of the random criterion", label="Seed", metavar="N", group=_SCORES, most=2**31 - 1),
    ] = 0
    sensitivity: Annotated[
        Text | None,
        Option(
            "file that 'sensitivity' wrote: spare what hurts most",
            label="Spare sensitive blocks",
            more="Multiplies the scores of a block's layers by how much its channels were measured to be worth.",
            metavar="JSON",
            group=_SCORES,
        ),
    ] = None


class Limits(Request):
    """What bounds a plan besides its target."""

    scope: Annotated[
        Literal["global", "uniform"],
        Option(
            "one threshold for all channels, or the same ratio in every layer",
            label="Scope",
            group=_LIMITS,
        ),
    ] = "global"
    protect_residual: Annotated[
        Switch,
        Option(
            "keep every channel that a residual add ties to others",
            label="Protect residual channels",
            more="As the classic recipe does. Off: tied channels are pruned together.",
            group=_LIMITS,
        ),
    ] = False
    floor: Annotated[
        Whole,
        Field(ge=1),
        Option(
            "channels that every layer keeps at least",
            label="Floor",
            metavar="N",
            group=_LIMITS,
            unit="channels",
            why="fewer would empty layers",
            most=64,
        ),
    ] = 4
    floor_share: Annotated[
        Number,
        Field(ge=0, le=1),
        Option(
            "the same as a share of each layer",
            label="Floor as a share",
            more="The larger of the two holds.",
            metavar="S",
            group=_LIMITS,
            unit="share",
            step=0.05,
        ),
    ] = 0.0
    round_to: Annotated[
        Whole,
        Field(ge=1),
        Option(
            "round layer widths up to a multiple of this",
            label="Widths",
            more="Most hardware is fastest at multiples of 8.",
            metavar="N",
            group=_LIMITS,
            unit="channels",
            why="widths are rounded up to a multiple: 1, 8, 16 or 32",
        ),
    ] = 1
    lock: Annotated[
        tuple[Text, ...],
        Option(
            "keep a BatchNorm layer whole",
            label="Locked layers",
            more="Layers that are tied to it keep all their channels as well.",
            metavar="LAYER",
            group=_LIMITS,
            repeatable=True,
        ),
    ] = ()
    layer_ratio: Annotated[
        tuple[Text, ...],
        Option(
            "a BatchNorm layer's own ratio",
            label="Layers with a ratio of their own",
            metavar="LAYER=R",
            group=_LIMITS,
            repeatable=True,
        ),
    ] = ()


class PlanSettings(Limits, Scores, Target):
    """Everything that decides a plan, besides the model."""

    imgsz: Annotated[
        Size,
        Option(
            "image size that GFLOPs and latency are counted at, multiples of 32; or height,width: 384,640",
            label="Image size for costs",
            more="Decides the plan only where it prunes to one of them.",
            metavar="PX",
            unit="px",
        ),
    ] = GFLOPS_IMGSZ


Compensate = Annotated[
    Switch,
    Option(
        "fold what removed channels still emitted into what reads them",
        label="Compensate",
        more="Otherwise that is lost with them.",
    ),
]
Recalibrate = Annotated[
    Whole | None,
    Field(ge=0),
    Option(
        "re-estimate BatchNorm on N training images",
        label="Recalibrate on so many images",
        more="0: not at all.",
        metavar="N",
        unit="images",
        most=1024,
        step=16,
    ),
]


class Repair(Request):
    """What softens a cut."""

    compensate: Compensate = True
    recalibrate: Recalibrate = None


class Measured(Limits, Scores):
    """How the accuracy of plans is measured, before one is made."""

    images: Annotated[
        Whole,
        Field(ge=1),
        Option(
            "validation images, evenly spread over the split",
            label="Validation images",
            more="More are surer and take longer.",
            metavar="N",
            unit="images",
            most=5000,
            step=16,
        ),
    ] = 64
    compensate: Compensate = True

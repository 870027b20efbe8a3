"""The options of every verb, as argparse describes them."""

from __future__ import annotations

import argparse
from typing import Any

from engine.base.errors import WorkbenchError
from engine.base.imgsz import SIDE_WORDS, SIZE_WORDS, as_size, size_for_json
from engine.settings.choices import CRITERIA
from engine.settings.options import batch_size, data_option, save_option, ultralytics_arguments
from engine.settings.verb_facts import TAKES_ARGUMENTS, TRACKERS

DESCRIPTIONS = {
    "inspect": "describe a checkpoint and its gammas",
    "preview": "say what pruning at a ratio would give",
    "accuracy": "measure accuracy directly after pruning, at a grid of ratios",
    "sensitivity": "measure accuracy with each block of layers pruned alone",
    "prune": "write SAVE_DIR/pruned.pt, a physically smaller model",
    "train": "plain training",
    "sparsify": "sparse training: drive the gammas of unimportant channels to zero",
    "finetune": "train a pruned model; it keeps its shape",
    "val": "measure accuracy on a split of a data set",
    "compare": "measure models side by side: size, cost, accuracy, and the change of each",
    "export": "write an ONNX (or other) file, checked and compared with the PyTorch model",
    "report": "write SAVE_DIR/report.html, everything about one model in one file",
    "latency": "measure models side by side on this machine: milliseconds an image",
}

RUN_DESCRIPTION = "run a recipe: the steps of one YAML file, one after another"


TAKES_HEIGHT_AND_WIDTH = ("inspect", "preview", "prune", "latency", "export")
"Verbs whose image size need not be square; training and validation take the longer side, as Ultralytics' do."


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on one line; argparse alone prints the usage before it."""

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def build_parser(program: str = "python -m engine", epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; ``program`` is what the person typed before them."""
    description = "Make trained Ultralytics YOLO models smaller."
    parser = _Parser(prog=program, description=description, epilog=epilog)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, description in DESCRIPTIONS.items():
        sub = verbs.add_parser(verb, help=description, description=description)
        several = {"nargs": "+"} if verb in ("compare", "latency") else {}
        sub.add_argument(
            "--weights", required=True, metavar="PT", help="checkpoint, or an official name (yolov8n.pt)", **several
        )
        takes = image_size if verb in TAKES_HEIGHT_AND_WIDTH else image_side
        sub.add_argument("--imgsz", type=takes, metavar="PX", help=_imgsz_help(verb))
        sub.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
        _OPTIONS[verb](sub)
        if verb in TAKES_ARGUMENTS:
            ultralytics_arguments(sub)
    _run_options(verbs.add_parser("run", help=RUN_DESCRIPTION, description=RUN_DESCRIPTION))
    return parser


def _imgsz_help(verb: str) -> str:
    if verb in ("inspect", "preview", "prune"):
        return "image size that GFLOPs are counted at, multiples of 32 (640); or height,width: 384,640"
    if verb in TAKES_HEIGHT_AND_WIDTH:
        return "image size, rounded up to the model's stride (the checkpoint's own); or height,width: 384,640"
    return "longer image side, rounded up to the model's stride (the checkpoint's own)"


def image_size(text: str) -> int | list[int]:
    """Return an image size as a specification holds it: a number of pixels, or [height, width]."""
    try:
        return size_for_json(as_size(text))
    except WorkbenchError as error:
        raise argparse.ArgumentTypeError(SIZE_WORDS) from error


def image_side(text: str) -> int:
    """Return the image size of what Ultralytics trains and validates at: one number of pixels."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"one number of pixels such as 640: {SIDE_WORDS}") from error


def read_terminal(arguments: list[str] | None = None, **parser_options: Any) -> dict[str, Any]:
    """Return the options of a command line by their names, with Ultralytics' own arguments wherever they stood."""
    parser = build_parser(**parser_options)
    options, rest = parser.parse_known_args(arguments)
    options = vars(options)
    if rest and ("ultralytics" not in options or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options["ultralytics"] = [*options["ultralytics"], *rest]
    return options


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


def _plan_options(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group("what to prune to")
    target.add_argument("--prune-ratio", type=float, metavar="R", help="share of channels to remove, 0 to 0.95")
    target.add_argument("--max-params", type=int, metavar="N", help="or: at most so many parameters")
    target.add_argument("--max-gflops", type=float, metavar="F", help="or: at most so many GFLOPs at --imgsz")
    target.add_argument(
        "--target-latency", type=float, metavar="MS", help="or: at most so many milliseconds an image on this machine"
    )
    target.add_argument("--threads", type=int, metavar="N", help="of --target-latency (every core)")
    _score_options(parser)
    _limit_options(parser)


def _score_options(parser: argparse.ArgumentParser) -> None:
    scores = parser.add_argument_group("how channels are scored")
    scores.add_argument("--criterion", choices=tuple(CRITERIA), help="importance (gamma)")
    scores.add_argument("--aggregate", choices=("mean", "max", "sum"), help="score of tied channels (mean)")
    scores.add_argument("--per-layer", action="store_true", help="divide scores by their layer's mean")
    scores.add_argument("--per-flop", action="store_true", help="divide scores by the FLOPs that removal saves")
    scores.add_argument("--seed", type=int, metavar="N", help="of the random criterion (0)")
    scores.add_argument("--sensitivity", metavar="JSON", help="file that 'sensitivity' wrote: spare what hurts most")


def _limit_options(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    limits.add_argument("--scope", choices=("global", "uniform"), help="one threshold, or one ratio a layer (global)")
    limits.add_argument("--protect-residual", action="store_true", help="keep residual-coupled channels")
    limits.add_argument("--floor", type=int, metavar="N", help="channels that every layer keeps at least (4)")
    limits.add_argument("--floor-share", type=float, metavar="S", help="the same as a share of the layer (0)")
    limits.add_argument("--round-to", type=int, metavar="N", help="round layer widths up to a multiple (1)")
    limits.add_argument("--lock", action="append", metavar="LAYER", help="keep a BatchNorm layer whole; repeatable")
    limits.add_argument("--layer-ratio", action="append", metavar="LAYER=R", help="a layer's own ratio; repeatable")


def _prune_options(parser: argparse.ArgumentParser) -> None:
    _plan_options(parser)
    save_option(parser)
    _compensation_option(parser)
    parser.add_argument("--recalibrate", type=int, metavar="N", help="re-estimate BatchNorm on N training images")
    data_option(parser, "data set of --recalibrate")
    parser.add_argument(
        "--no-latency-check",
        dest="check_latency",
        action="store_false",
        default=None,
        help="do not time the model that --target-latency gave",
    )


def _compensation_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-compensate",
        dest="compensate",
        action="store_false",
        default=None,
        help="do not fold what removed channels still emitted into what reads them",
    )


def _measuring_options(parser: argparse.ArgumentParser, recalibrated: str) -> None:
    _data_options(parser)
    save_option(parser)
    parser.add_argument("--images", type=int, metavar="N", help="validation images, evenly spread (64)")
    parser.add_argument(
        "--recalibrate", type=int, metavar="N", help=f"re-estimate BatchNorm on N training images ({recalibrated})"
    )
    _compensation_option(parser)
    _score_options(parser)
    _limit_options(parser)


def _accuracy_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ratios", type=float, nargs="+", metavar="R", help="where to measure (0.1 0.2 ... 0.9)")
    _measuring_options(parser, "32, but 0 for a cut of gammas that are all zero")


def _sensitivity_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shares", type=float, nargs="+", metavar="S", help="of a block's channels (0.25 0.5 0.75)")
    _measuring_options(parser, "32")


def _data_options(parser: argparse.ArgumentParser, *, training: bool = False) -> None:
    data_option(parser, "data set description, or a name that Ultralytics knows (coco8.yaml)", required=True)
    text = "images a batch (16); -1 or a share such as 0.7: what fits into the GPU's memory (AutoBatch)"
    kind = {"type": batch_size, "help": text} if training else {"type": int, "help": "images a batch (16)"}
    parser.add_argument("--batch", metavar="N", **kind)
    parser.add_argument("--device", metavar="D", help="cpu, 0, or 0,1 for two GPUs (the first GPU, else cpu)")


def _plain_training_options(parser: argparse.ArgumentParser) -> None:
    _training_options(parser)
    parser.add_argument("--sr", type=float, metavar="S", help="strength of a penalty; 0 alone, for there is none here")


def _training_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser, training=True)
    save_option(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    parser.add_argument("--optimizer", metavar="NAME", help="SGD, AdamW, ... (SGD; 'auto' ignores --lr0)")
    parser.add_argument("--nbs", type=int, metavar="N", help="images whose gradients are gathered before a step (64)")
    parser.add_argument("--lr0", type=float, metavar="LR", help="initial learning rate")
    parser.add_argument("--workers", type=int, metavar="N", help="data loader processes on a GPU (2)")
    parser.add_argument(
        "--patience", type=int, metavar="N", help="epochs without improvement before stopping (100; sparsify: never)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (0)")
    parser.add_argument("--processes", type=int, metavar="N", help="training processes with --device cpu (1)")
    parser.add_argument("--tracker", action="append", choices=TRACKERS, help="record the run there too; repeatable")
    parser.add_argument("--resume", action="store_true", help="go on with the run that ended early in --save-dir")


def _finetune_options(parser: argparse.ArgumentParser) -> None:
    _training_options(parser)
    parser.add_argument("--teacher", metavar="PT", help="dense model that this one was pruned from, to distil from it")
    parser.add_argument("--reference", metavar="PT", help="dense model to measure beside the result")


def _sparsify_options(parser: argparse.ArgumentParser) -> None:
    _training_options(parser)
    parser.add_argument(
        "--method", choices=("targeted", "proximal", "classic"), help="targeted; proximal if --sr is given"
    )
    parser.add_argument("--prune-ratio", type=float, metavar="R", help="targeted: share of channels to empty (0.5)")
    parser.add_argument("--max-params", type=int, metavar="N", help="or: so many that at most N parameters remain")
    parser.add_argument("--max-gflops", type=float, metavar="F", help="or: so many that at most F GFLOPs remain")
    parser.add_argument("--budget-imgsz", type=image_size, metavar="PX", help="image size of --max-gflops (640)")
    parser.add_argument("--sr", type=float, metavar="S", help="proximal, classic: strength of the L1 penalty (0.01)")
    parser.add_argument("--schedule", choices=("constant", "linear", "cosine"), help="how the strength runs (constant)")
    parser.add_argument("--sr-warmup", type=float, metavar="S", help="share of the run over which it first rises (0)")


def _val_options(parser: argparse.ArgumentParser) -> None:
    _data_options(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), help="which images (val)")


def _compare_options(parser: argparse.ArgumentParser) -> None:
    _val_options(parser)
    parser.add_argument("--reference", metavar="PT", help="model that changes are relative to (the first)")
    parser.add_argument(
        "--gflops-imgsz", type=image_size, metavar="PX", help="image size that GFLOPs are counted at (640)"
    )
    parser.add_argument("--latency", action="store_true", help="time them too, in turns in ONNX Runtime on the CPU")


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe")
    parser.add_argument("--list", action="store_true", help="print the shipped recipes and end")
    parser.add_argument("--weights", metavar="PT", help="model to start from (the recipe's own)")
    data_option(parser, "data set description (the recipe's own)")
    parser.add_argument("--device", metavar="D", help="cpu, 0, ... (the recipe's own, else the first GPU, else cpu)")
    save_option(parser, "folder for what is made (a new one below ./runs); one begun before goes on")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")


def _export_options(parser: argparse.ArgumentParser) -> None:
    save_option(parser)
    parser.add_argument("--opset", type=int, metavar="N", help="ONNX operator set (the exporter's choice)")
    parser.add_argument("--dynamic", action="store_true", help="accept any batch and image size; not with --nms")
    parser.add_argument("--format", choices=("onnx", "torchscript", "openvino"), help="of the file (onnx)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of weights and activations (fp32)")
    parser.add_argument("--nms", action="store_true", help="put non-maximum suppression into the file")
    parser.add_argument(
        "--head",
        choices=("end2end", "one-to-many"),
        help="of models that have two (YOLOv10, YOLO26): final boxes, or boxes to suppress (end2end; with --nms "
        "one-to-many)",
    )
    parser.add_argument(
        "--no-simplify", dest="simplify", action="store_false", default=None, help="leave the graph as it was traced"
    )
    data_option(parser, "data set that calibrates int8 and that the file is checked on")
    parser.add_argument("--strict", action="store_true", help="exit code 2 unless it passes; an older file then stays")


def _report_options(parser: argparse.ArgumentParser) -> None:
    save_option(parser)
    data_option(parser, "data set for sample predictions")
    parser.add_argument("--workspace", metavar="DIR", help="workspace that knows the model's ancestors")
    parser.add_argument("--reference", metavar="PT", help="model to hold it against where no workspace is given")


def _latency_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", nargs="+", choices=("onnx", "torch", "cuda"), help="onnx and torch: CPU (onnx)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the runtime (every core)")
    parser.add_argument("--repeats", type=int, metavar="N", help="timed runs of each model (100)")
    parser.add_argument(
        "--predict", action="store_true", help="measure instead what --target-latency needs to know of each model"
    )


_OPTIONS = {
    "inspect": _no_options,
    "preview": _plan_options,
    "accuracy": _accuracy_options,
    "sensitivity": _sensitivity_options,
    "prune": _prune_options,
    "train": _plain_training_options,
    "sparsify": _sparsify_options,
    "finetune": _finetune_options,
    "val": _val_options,
    "compare": _compare_options,
    "export": _export_options,
    "latency": _latency_options,
    "report": _report_options,
}

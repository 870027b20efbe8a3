"""What can be chosen by name, as the folders of the engine hold it."""

from __future__ import annotations

from engine.base.entries import entries

CRITERIA = entries("pruning/criteria")
"What scores channels, by name."
IMAGE_CRITERIA = tuple(name for name, entry in CRITERIA.items() if entry.more.endswith("Needs labelled images."))
"Those that look at a data set."
USUAL_CRITERION = "gamma"
"Where nothing is said and nothing better is known."
DATA_CRITERION = "taylor-activation"
"For a model that was never sparse-trained, where a data set is known and nothing is said; see docs/criteria.md."
FORMATS = entries("runtimes/formats")
"Export formats, by name; ``text`` says who can read such a file."
RUNTIMES = {
    **{name: entry.label for name, entry in FORMATS.items()},
    "onnx": "ONNX Runtime",
    "torch": "PyTorch",
    "cuda": "PyTorch on the GPU",
}
"What latency is measured in -> what a person calls it: a file of every format, and the checkpoint itself."
PRECISIONS = ("fp32", "fp16", "int8")
OPTIMIZERS = ("SGD", "AdamW", "Adam", "MuSGD", "RMSprop", "Adamax", "NAdam", "RAdam", "auto")
"Of Ultralytics, in its own spelling; it takes them in any."

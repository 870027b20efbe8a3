"""What can be chosen by name, as the folders of the engine hold it."""

from __future__ import annotations

from engine.base.entries import entries

CRITERIA = entries("pruning/criteria")
"What scores channels, by name."

FORMATS = ("onnx", "torchscript", "openvino")
PRECISIONS = ("fp32", "fp16", "int8")
RUNTIMES = ("onnx", "torch", "cuda")
OPTIMIZERS = ("SGD", "AdamW", "Adam", "MuSGD", "RMSprop", "Adamax", "NAdam", "RAdam", "auto")
"Of Ultralytics, in its own spelling; it takes them in any."

"""Fewer bits for an ONNX file: fp16, and int8 calibrated on images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import ExportError
from engine.base.events import Report, silent, step_event
from engine.runtimes.exporter import first_line

_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


def sensitive_nodes(model: Any) -> set[str]:
    """Return the names of the nodes that stay in float32: the decoding tail and the convolutions that feed it.

    A tail mixes boxes in pixels with scores from 0 to 1, which no single scale of 8 bits holds, and at 16 bits a
    coordinate above 512 is rounded to half a pixel. The tail ends, going up from the outputs, at convolutions;
    those of distribution focal loss, which read a softmax, belong to it.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    pending = [producer[output.name] for output in model.graph.output if output.name in producer]
    sensitive: set[str] = set()
    while pending:
        node = pending.pop()
        if node.name in sensitive:
            continue
        sensitive.add(node.name)
        if node.op_type != "Conv" or _reads_softmax(node, producer):
            pending += [producer[name] for name in node.input if name in producer]
    return sensitive


def _reads_softmax(node: Any, producer: dict[str, Any]) -> bool:
    """Whether only data movement lies between a node and a softmax."""
    while node.input and node.input[0] in producer:
        node = producer[node.input[0]]
        if node.op_type == "Softmax":
            return True
        if node.op_type not in {"Transpose", "Reshape"}:
            return False
    return False


def to_fp16(source: Path, target: Path) -> None:
    """Write an ONNX file with 16-bit weights and activations; inputs, outputs and the tail stay float32.

    Raises:
        ExportError: the graph cannot be converted.
    """
    import onnx
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(str(source))
    blocked = float16.DEFAULT_OP_BLOCK_LIST
    # A classifier's last layer puts out no coordinates, and is a large part of the file.
    kept = sensitive_nodes(model) - {node.name for node in model.graph.node if node.op_type == "Gemm"}
    try:
        converted = float16.convert_float_to_float16(
            model, keep_io_types=True, op_block_list=blocked, node_block_list=sorted(kept)
        )
    except Exception as error:  # whatever onnx and the converter raise on a graph they do not understand
        raise ExportError(f"The ONNX file could not be converted to fp16: {first_line(error)}") from error
    _drop_twins(converted)
    OnnxModel(converted).topological_sort()  # the converter appends its casts of inputs at the end
    onnx.save(converted, str(target))


def _drop_twins(model: Any) -> None:
    """Keep one of two casts of one tensor: the converter adds one for every reader, under one name."""
    seen: set[str] = set()
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            model.graph.node.remove(node)
        seen.update(node.output)


def to_int8(source: Path, target: Path, images: Iterable[np.ndarray], count: int, report: Report = silent) -> None:
    """Write an ONNX file whose convolutions compute with 8 bits (QDQ), calibrated on images.

    Weights have one scale a channel, activations one a tensor. Only convolutions and matrix products are quantised:
    everything else computes little, and the tail would not survive it.

    Args:
        source: a float32 file with named nodes.
        target: where the quantised file goes.
        images: (1, C, H, W) arrays of the training split.
        count: how many there are.
        report: receives ``step`` events, and may raise ``StopRequested``.

    Raises:
        ExportError: the graph cannot be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from engine.base.errors import StopRequested

    model = onnx.load(str(source))
    kept = sensitive_nodes(model) | {node.name for node in model.graph.node if node.op_type not in _WEIGHTED}
    try:
        quantize_static(
            str(source),
            str(target),
            _reader(model.graph.input[0].name, images, count, report),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Weights of 7 bits: x86 processors without VNNI add pairs of 8-bit products in 16 bits, which overflow.
            reduce_range=True,
            nodes_to_exclude=sorted(kept),
        )
    except StopRequested:
        raise
    except Exception as error:  # whatever onnx and the quantiser raise on a graph they do not understand
        raise ExportError(f"The ONNX file could not be quantised: {first_line(error)}") from error


def _reader(name: str, images: Iterable[np.ndarray], count: int, report: Report) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Feeds the images once and reports how far it is."""

        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, np.ndarray]] = self._all()

        def _all(self) -> Iterator[dict[str, np.ndarray]]:
            for number, image in enumerate(images, 1):
                if number % 8 == 0 or number == count:
                    report(step_event(number, count))
                yield {name: image}

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    return Reader()

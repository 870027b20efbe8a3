"""One convolution as an ONNX model of its own, and how long it takes."""

from __future__ import annotations

import numpy as np

from engine.latency.layers import ConvolutionShape
from engine.runtimes.sessions import node_times

# Rearranging a feature map for the runtime is shared with neighbours in a whole model; here it stands alone.
_REARRANGING = frozenset({"ReorderInput", "ReorderOutput"})
_OPSET, _IR_VERSION = 17, 8


def convolution_ms(shape: ConvolutionShape, inputs: int, outputs: int, threads: int, budget_s: float = 0.02) -> float:
    """Return the milliseconds of a convolution and its activation in ONNX Runtime, batch 1, each in its fastest run."""
    times = node_times(convolution_model(shape, inputs, outputs), threads, budget_s=budget_s)
    return sum(milliseconds for operator, milliseconds in times.values() if operator not in _REARRANGING)


def convolution_model(shape: ConvolutionShape, inputs: int, outputs: int) -> bytes:
    """Return a serialised ONNX model: one convolution with bias, and SiLU where the shape has it."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    groups = outputs if shape.groups == 0 else shape.groups
    weight = random.standard_normal((outputs, inputs // groups, *shape.kernel), dtype=np.float32)
    bias = random.standard_normal(outputs, dtype=np.float32)
    convolution = helper.make_node(
        "Conv",
        ["x", "w", "b"],
        ["y"],
        "conv",
        kernel_shape=shape.kernel,
        strides=shape.stride,
        pads=(*shape.padding, *shape.padding),
        dilations=shape.dilation,
        group=groups,
    )
    nodes = [convolution]
    if shape.activation:
        nodes += [helper.make_node("Sigmoid", ["y"], ["s"], "gate"), helper.make_node("Mul", ["y", "s"], ["z"], "act")]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs, shape.height, shape.width])
    result = helper.make_tensor_value_info("z" if shape.activation else "y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "convolution", [image], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    return model.SerializeToString()

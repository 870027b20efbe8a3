"""Architectures for tests that train: every kind of block once, on few levels, as each layer of a model costs time.

A small model's run takes its time by the layer, whatever its width: modules are copied, written, read and called one
by one. What Ultralytics ships is pruned in ``tests/engine/pruning/families``.
"""

from __future__ import annotations

import copy
from typing import Any

_V8 = [
    [-1, 1, "Conv", [64, 3, 2]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 1, "C2f", [128, True]],
    [-1, 1, "Conv", [256, 3, 2]],
    [-1, 1, "C2f", [256, True]],  # 4, an eighth
    [-1, 1, "Conv", [512, 3, 2]],
    [-1, 1, "Conv", [512, 3, 2]],
    [-1, 1, "SPPF", [512, 5]],  # 7, a thirty-second
]
_V26 = [
    [-1, 1, "Conv", [64, 3, 2]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 1, "C3k2", [256, False, 0.25]],
    [-1, 1, "Conv", [256, 3, 2]],  # 3, an eighth
    [-1, 1, "Conv", [512, 3, 2]],  # 4, a sixteenth
    [-1, 1, "C3k2", [512, True]],
    [-1, 1, "Conv", [512, 3, 2]],
    [-1, 1, "SPPF", [512, 5, 3, True]],
    [-1, 1, "C2PSA", [512]],  # 8, a thirty-second
]
_V8_NECK = [
    [-1, 1, "nn.Upsample", [None, 4, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
    [-1, 1, "C2f", [256]],  # 10, an eighth
]
_V26_NECK = [
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 5], 1, "Concat", [1]],
    [-1, 1, "C3k2", [512, True]],  # 11, a sixteenth
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 3], 1, "Concat", [1]],
    [-1, 1, "C3k2", [256, True]],  # 14, an eighth
]


_V8_LEVELS, _V26_LEVELS = [10, 7], [14, 11, 8]
_END_TO_END = {"end2end": True, "reg_max": 1}
_MODELS: dict[str, tuple[list, list, list, dict[str, Any]]] = {
    "detect": (_V8, _V8_NECK, [_V8_LEVELS, 1, "Detect", ["nc"]], {}),
    "segment": (_V8, _V8_NECK, [_V8_LEVELS, 1, "Segment", ["nc", 32, 256]], {}),
    "pose": (_V8, _V8_NECK, [_V8_LEVELS, 1, "Pose", ["nc", "kpt_shape"]], {"kpt_shape": [17, 3]}),
    "obb": (_V8, _V8_NECK, [_V8_LEVELS, 1, "OBB", ["nc", 1]], {}),
    "classify": (_V8[:5], [], [-1, 1, "Classify", ["nc"]], {}),
    "semantic": (_V26, _V26_NECK, [_V26_LEVELS[:2], 1, "SemanticSegment", ["nc"]], {}),
    "depth": (_V26, _V26_NECK, [_V26_LEVELS, 1, "Depth", [64]], {}),
    "detect 10": (_V8, _V8_NECK, [_V8_LEVELS, 1, "v10Detect", ["nc"]], {}),
    "detect 11": (_V26, _V26_NECK, [_V26_LEVELS, 1, "Detect", ["nc"]], {}),
    "detect 26": (_V8, _V8_NECK, [_V8_LEVELS, 1, "Detect", ["nc"]], _END_TO_END),
    "segment 26": (_V26, _V26_NECK, [_V26_LEVELS, 1, "Segment26", ["nc", 32, 256]], _END_TO_END),
    "obb 26": (_V8, _V8_NECK, [_V8_LEVELS, 1, "OBB26", ["nc", 1]], _END_TO_END),
}


def short(name: str, width: float = 0.25) -> dict[str, Any]:
    """Return a description as Ultralytics' YAML files hold them, of scale n.

    Args:
        name: A task, with the blocks and the head of YOLOv8, or of what first had that task; or a task and the
            generation whose head it has (of 11, the blocks with attention).
        width: How many of the channels that it names.
    """
    backbone, neck, head, more = _MODELS[name]
    scales = {"n": [1.0, width, 1024]}
    return copy.deepcopy({"nc": 3, "scales": scales, "scale": "n", "backbone": backbone, "head": [*neck, head], **more})

"""Compare the preview with Torch-Pruning: time from a changed ratio to new parameters and FLOPs, in one run.

Torch-Pruning (https://github.com/VainF/Torch-Pruning) is set up as its documentation says for Network Slimming: global
pruning by BatchNorm scale, the head's output layers ignored. It finds the size at a ratio by pruning a copy of the
model and counting that; here the channel graph is traced once and a ratio is arithmetic. Each of its models runs in a
child process with a time limit. Both sides count at the same image size with the same random gammas.

Needs ``pip install -r benchmarks/requirements.txt``. Run from anywhere: ``python benchmarks/torch_pruning.py
[model ...]``. Exits with 1 where the preview is not at least 200 times as fast on a model that both can prune.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # in place of this folder, whose torch_pruning.py would be imported for the package

import torch  # noqa: E402
from torch import nn  # noqa: E402

import engine  # noqa: E402, F401  (prepares the environment that the imports below read)
from engine.base.runtime import import_ultralytics  # noqa: E402
from engine.pruning.cost import CostModel  # noqa: E402
from engine.pruning.criteria import group_scores  # noqa: E402
from engine.pruning.graph import trace  # noqa: E402
from engine.pruning.solver import rank, solve  # noqa: E402

MODELS = ("yolov5n", "yolov3-tiny", "yolov3", "yolov8s")
RATIOS = (0.5, 0.3, 0.4)
LIMIT_S = 60
EXPECTED = 200


def build(name: str) -> nn.Module:
    """Return a model with seeded weights and random gammas."""
    torch.manual_seed(0)
    model = import_ultralytics().YOLO(f"{name}.yaml").model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0, 1)
    return model


def ours(name: str, imgsz: int) -> tuple[float, float]:
    """Return the seconds to open a model, once, and the median seconds from a changed ratio to its cost."""
    model = build(name)
    start = time.perf_counter()
    graph = trace(model)
    costs, ranking = CostModel(graph, model, imgsz), rank(graph, group_scores(graph, model))
    prepare_s = time.perf_counter() - start
    times = []
    for ratio in RATIOS * 20:
        start = time.perf_counter()
        costs.cost(solve(ranking, ratio).keep)
        times.append(time.perf_counter() - start)
    return prepare_s, median(times)


def torch_pruning(name: str, imgsz: int) -> None:
    """Print a line of JSON for each ratio: seconds, parameters and multiply-adds."""
    import torch_pruning as tp

    original, image = build(name), torch.zeros(1, 3, imgsz, imgsz)
    for parameter in original.parameters():
        parameter.requires_grad = True  # what does not require gradients is not found by its tracing
    for ratio in RATIOS:
        start = time.perf_counter()
        model = copy.deepcopy(original)  # pruning changes the model, so every ratio needs a fresh one
        pruner = tp.pruner.BNScalePruner(
            model,
            image,
            importance=tp.importance.BNScaleImportance(),
            global_pruning=True,
            pruning_ratio=ratio,
            ignored_layers=[model.model[-1]],
        )
        pruner.step()
        operations, params = tp.utils.count_ops_and_params(model, image)
        measured = {"seconds": time.perf_counter() - start, "params": int(params), "operations": int(operations)}
        print(json.dumps(measured), flush=True)


def theirs(name: str, imgsz: int) -> tuple[list[float], str]:
    """Run Torch-Pruning in a child process; return the seconds of each ratio, and why it ended early, if it did."""
    command = [sys.executable, __file__, "--child", name, "--imgsz", str(imgsz)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        output, failure = done.stdout, done.stderr.strip().splitlines()[-1] if done.returncode else ""
    except subprocess.TimeoutExpired as expired:
        output, failure = (expired.stdout or b"").decode(), f"not finished after {LIMIT_S} s"
    lines = [line for line in output.splitlines() if line.startswith("{")]
    return [json.loads(line)["seconds"] for line in lines], failure[:100]


def compare(name: str, imgsz: int) -> bool:
    """Print the comparison of one model and return whether the preview is fast enough where both can prune it."""
    prepare_s, ours_s = ours(name, imgsz)
    theirs_s, failure = theirs(name, imgsz)
    start = f"{name:12} {ours_s * 1e3:9.3f} ms {prepare_s:8.2f} s "
    if not theirs_s:
        print(f"{start} {'-':>12} {'-':>10}   Torch-Pruning: {failure}", flush=True)
        return True
    ratio = median(theirs_s) / ours_s
    note = f"   ({len(theirs_s)} of {len(RATIOS)} ratios: {failure})" if failure else ""
    print(f"{start} {median(theirs_s):10.3f} s {ratio:9,.0f}x{note}", flush=True)
    return ratio >= EXPECTED


def main() -> int:
    """Parse the command line, compare every model, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="model YAML names with their scale")
    parser.add_argument("--imgsz", type=int, default=640, help="image size in pixels (640)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        torch_pruning(options.child, options.imgsz)
        return 0
    print("Median time from a changed ratio to new parameters and FLOPs; 'prepare' is the trace, once a checkpoint.")
    print(f"{'model':12} {'preview':>12} {'prepare':>10}  {'Torch-Pruning':>12} {'ratio':>9}", flush=True)
    return 0 if all([compare(name, options.imgsz) for name in options.models]) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/families.md: what can be pruned of every model that the installed Ultralytics ships.

Run from anywhere: ``python benchmarks/families.py``. Takes some minutes; ``--only NAME ...`` prints the rows of a few
models instead and writes nothing.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

import engine  # noqa: E402, F401  (prepares the environment that the imports below read)
from engine.base.runtime import import_ultralytics  # noqa: E402
from engine.profile.cost import Cost  # noqa: E402
from engine.pruning.cost import CostModel  # noqa: E402
from engine.pruning.criteria import group_scores  # noqa: E402
from engine.pruning.graph import ChannelGraph, trace  # noqa: E402
from engine.pruning.solver import rank, solve  # noqa: E402

ultralytics = import_ultralytics()
FOLDER = Path(ultralytics.__file__).parent / "cfg" / "models"
PAGE = ROOT / "docs" / "families.md"
RATIOS = (0.3, 0.6)
IMGSZ = 640
NEEDS_NETWORK = {"yolo11-cls-resnet18": "its backbone comes from PyTorch Hub"}


@dataclass(frozen=True)
class Family:
    """One row of the table."""

    name: str
    task: str
    channels: int
    prunable: int
    before: Cost
    after: tuple[Cost, ...]
    "At each of ``RATIOS``."
    kept: Counter[str]
    "Why channels are always kept -> how many."


def build(name: str) -> tuple[nn.Module, str]:
    """Return a model with seeded weights and random gammas, and its task."""
    torch.manual_seed(0)
    loader = ultralytics.RTDETR if "rtdetr" in name else ultralytics.YOLO
    made = loader(f"{name}.yaml")
    generator = torch.Generator().manual_seed(0)
    for module in made.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None:
            module.weight.data.uniform_(0, 1, generator=generator)
    return made.model.eval(), made.task


def kept_channels(graph: ChannelGraph) -> Counter[str]:
    """Return why channels of BatchNorm layers are always kept -> how many; a layer may have several reasons."""
    kept: Counter[str] = Counter()
    for layer in graph.layers:
        if layer.prunable_channels < layer.channels:
            kept[layer.reason.replace("; ", " and ")] += layer.channels - layer.prunable_channels
    return kept


def measure(name: str) -> Family:
    """Trace a model, solve for every ratio, and count."""
    model, task = build(name)
    graph = trace(model)
    costs = CostModel(graph, model, IMGSZ)
    ranking = rank(graph, group_scores(graph, model))
    return Family(
        name=name,
        task=task,
        channels=graph.total_channels,
        prunable=graph.prunable_channels,
        before=costs.before,
        after=tuple(costs.cost(solve(ranking, ratio).keep) for ratio in RATIOS),
        kept=kept_channels(graph),
    )


def row(family: Family) -> str:
    """Return a row of the table of sizes."""
    sizes = [f"{cost.params / 1e6:.2f} | {cost.gflops:.1f}" for cost in (family.before, *family.after)]
    return f"| {family.name} | {family.task} | {family.prunable / family.channels:.1%} | {' | '.join(sizes)} |"


def reasons(families: list[Family]) -> list[str]:
    """Return the rows of the table of what is kept: models with the same entry share a row."""
    by_entry: dict[str, list[str]] = {}
    for family in families:
        entry = "; ".join(f"{count} × {reason}" for reason, count in family.kept.most_common())
        by_entry.setdefault(entry or "nothing", []).append(family.name)
    return [f"| {', '.join(names)} | {entry} |" for entry, names in by_entry.items()]


def page(families: list[Family]) -> str:
    """Return docs/families.md."""
    shares = sorted(family.prunable / family.channels for family in families)
    lines = [
        "# Models that can be pruned",
        "",
        f"Every model description that Ultralytics {ultralytics.__version__} ships and that can be built without a "
        f"network: {len(families)} models, each at its default scale. Written by `python benchmarks/families.py`.",
        "",
        "*Prunable* is the share of BatchNorm channels that a plan may remove; what is kept, and why, stands in the "
        f"second table. It is {shares[0]:.1%} at least and {shares[len(shares) // 2]:.1%} in the median. Weights and "
        "gammas are random with a fixed seed, so the sizes show how a model shrinks when no layer matters more than "
        "another; a trained model shrinks elsewhere. Parameters in millions; GFLOPs for one image of "
        f"{IMGSZ}×{IMGSZ} pixels, as Ultralytics counts them.",
        "",
        "| Model | Task | Prunable | Params (M) | GFLOPs | "
        + " | ".join(f"Params at {ratio:g} | GFLOPs at {ratio:g}" for ratio in RATIOS)
        + " |",
        "|---|---|--:|" + "--:|" * (2 + 2 * len(RATIOS)),
        *map(row, families),
        "",
        "## What is always kept",
        "",
        "Channels of BatchNorm layers that no plan removes, by reason.",
        "",
        "| Models | Channels × reason |",
        "|---|---|",
        *reasons(families),
        "",
        "Not built here: " + "; ".join(f"{name}, because {why}" for name, why in NEEDS_NETWORK.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure every model and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="print the rows of these models, write nothing")
    options = parser.parse_args()
    names = options.only or sorted({path.stem for path in FOLDER.rglob("*.yaml")} - NEEDS_NETWORK.keys())
    families = []
    for name in names:
        families.append(measure(name))
        print(row(families[-1]), flush=True)
        gc.collect()
    if options.only:
        print("\n".join(reasons(families)))
    else:
        PAGE.write_text(page(families), encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: {len(families)} models")
    return 0


if __name__ == "__main__":
    sys.exit(main())

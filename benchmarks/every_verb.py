"""Whether every verb copes with a model and its data set: one Markdown table, ok or the sentence that refuses.

    python benchmarks/every_verb.py FOLDER [FOLDER ...] [--imgsz 96]

Each folder holds model.pt and, where a data set belongs to it, data.yaml or, for classification, the folders train and
val. Every verb is a process of its own, ``python -m engine VERB``, on the CPU with as little work as it allows: what
ends with 0 is ok, what ends with 2 tells one sentence for a person, anything else is a FAIL.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600
TRAINING = ("--epochs", "1", "--batch", "4", "--nbs", "4", "--workers", "0", "--device", "cpu")
OK, FAIL, SKIPPED = "ok", "FAIL", "–"


@dataclass(frozen=True)
class Outcome:
    """What became of one verb."""

    word: str
    "ok, FAIL, 'refused', or a dash where there was nothing to run it on."
    text: str = ""
    "The sentence of a refusal, the last line of a failure."


def commands(model: Path, data: Path | None, size: str, out: Path) -> dict[str, list[str]]:
    """Return verb, or what it does differently -> the words after ``python -m engine``."""
    whole, pruned = ("--weights", str(model)), ("--weights", str(out / "pruned" / "pruned.pt"))
    images = ("--data", str(data)) if data else ()
    imgsz, cpu = ("--imgsz", size), ("--device", "cpu")

    def save(name: str) -> tuple[str, str]:
        return "--save-dir", str(out / name)

    told = {
        "inspect": ["inspect", *whole],
        "preview": ["preview", *whole, "--prune-ratio", "0.3"],
        "prune": ["prune", *whole, "--prune-ratio", "0.3", *save("pruned")],
    }
    if data:
        recalibrated = ["--recalibrate", "4", *images]
        told |= {
            "prune --recalibrate": ["prune", *whole, "--prune-ratio", "0.3", *recalibrated, *save("recalibrated")],
            "train": ["train", *whole, *images, *imgsz, *TRAINING, *save("train")],
            "sparsify": ["sparsify", *whole, *images, *imgsz, *TRAINING, *save("sparse")],
            "finetune": ["finetune", *pruned, *images, *imgsz, *TRAINING, *save("tuned")],
            "val": ["val", *whole, *images, *imgsz, *cpu],
            "compare": ["compare", *whole, pruned[1], *images, *imgsz, *cpu],
            "accuracy": ["accuracy", *whole, *images, *imgsz, *cpu, "--ratios", "0.3", *save("accuracy")],
        }
    told["export fp32"] = ["export", *pruned, *images, *imgsz, *save("fp32")]
    if data:
        told["export int8"] = ["export", *pruned, *images, *imgsz, "--precision", "int8", *save("int8")]
        told["report"] = ["report", *pruned, *images, *save("report")]
    return told


def outcome(words: Sequence[str]) -> Outcome:
    """Run one verb and say what became of it."""
    command = [sys.executable, "-m", "engine", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Outcome(FAIL, f"not done after {TIMEOUT_S} s")
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()] or [""]
    refusal = next((line for line in reversed(lines) if line.startswith("error: ")), "")
    if done.returncode == 0:
        return Outcome(OK)
    if done.returncode == 2 and refusal and "Traceback" not in done.stderr:
        return Outcome("refused", refusal.removeprefix("error: "))
    return Outcome(FAIL, f"exit code {done.returncode}: {lines[-1]}")


def try_folder(folder: Path, size: str, out: Path) -> dict[str, Outcome]:
    """Return verb -> what became of it for the model of a folder; files go below ``out``."""
    description = folder / "data.yaml"
    data = description if description.is_file() else folder if (folder / "train").is_dir() else None
    found = {}
    for name, words in commands(folder / "model.pt", data, size, out).items():
        weights = Path(words[words.index("--weights") + 1])
        found[name] = outcome(words) if weights.is_file() else Outcome(SKIPPED)
        print(f"{folder.name}: {name}: {found[name].word} {found[name].text}", file=sys.stderr, flush=True)
    return found


def table(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """Return one line for each folder and one column for each verb, the sentences numbered below."""
    verbs = list(dict.fromkeys(verb for outcomes in found.values() for verb in outcomes))
    notes: dict[str, int] = {}
    lines = [f"| | {' | '.join(verbs)} |", "|---" * (len(verbs) + 1) + "|"]
    for name, outcomes in found.items():
        cells = []
        for verb in verbs:
            each = outcomes.get(verb, Outcome(SKIPPED))
            mark = f" ({notes.setdefault(each.text, len(notes) + 1)})" if each.text else ""
            cells.append(f"{each.word}{mark}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {text}" for text, number in notes.items())])


def main() -> int:
    """Try every folder and print the table; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--imgsz", default="96", metavar="PX", help="image size of what trains or measures (96)")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="every-verb-") as out:
        for folder in options.folders:
            found[folder.name] = try_folder(folder.resolve(), options.imgsz, Path(out) / folder.name)
    print(table(found))
    return int(any(each.word == FAIL for outcomes in found.values() for each in outcomes.values()))


if __name__ == "__main__":
    raise SystemExit(main())

"""Numbers, times and names as a person reads them. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from engine.store import Job, Model
from engine.tasks import main_metric, main_score, metric_label
from engine.verb_facts import WORDS

KINDS = {
    "imported": "Imported",
    "trained": "Trained",
    "sparse": "Sparse-trained",
    "pruned": "Pruned",
    "finetuned": "Fine-tuned",
    "demo": "Demo",
}
VERBS = WORDS
STATES = {
    "queued": ("Queued", "gray", ":material/hourglass_empty:"),
    "running": ("Running", "blue", ":material/play_arrow:"),
    "stopping": ("Stopping", "orange", ":material/pending:"),
    "done": ("Done", "green", ":material/check:"),
    "stopped": ("Stopped", "gray", ":material/stop:"),
    "failed": ("Failed", "red", ":material/error:"),
    "interrupted": ("Interrupted", "orange", ":material/link_off:"),
}


def plain(text: str) -> str:
    """Return text that Markdown shows exactly as it is: names of files and models are not formatting."""
    # Streamlit looks for colours, icons and links in what is left of a text after escapes, so only something invisible
    # between a colon and what follows keeps them from it.
    text = re.sub(r":(?=[a-z/])", ":\u2060", text)
    return re.sub(r"([\\`*_\[\]$~<>#])", r"\\\1", text)


def count(number: float | None) -> str:
    """Return 3011433 as '3.01 M'."""
    if number is None:
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{number:,.0f}"


def gflops(number: float | None) -> str:
    """Return GFLOPs with three digits."""
    return "–" if number is None else f"{number:.3g}" if number < 100 else f"{number:.0f}"


def gflops_at(value: float | None, imgsz: int | None) -> str:
    """Return '2.05 (320 px)'; numbers at different sizes stand below each other."""
    return f"{gflops(value)} ({imgsz} px)" if value is not None and imgsz else gflops(value)


def change(before: float, after: float) -> str:
    """Return the change as '-42.1 %'."""
    return f"{(after - before) / before:+.1%}".replace("%", " %") if before else "0 %"


def duration(seconds: float | None) -> str:
    """Return seconds as '8 s', '3 min 20 s' or '2 h 05 min'."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago a moment was: 'just now', '5 min ago', '3 h ago', or its date."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    return moment.astimezone().strftime("%d %b %Y")


def made_by(model: Model, parent: Model | None = None) -> str:
    """Return in a few words how a model came about."""
    made, source = model.made, f" from {parent.name}" if parent else ""
    verb = made.get("verb")
    spec = made.get("spec") or made
    if verb == "prune":
        return f"Pruned at ratio {made.get('ratio_achieved', spec.get('prune_ratio', 0)):.2f}{source}"
    if verb == "import":
        return f"Imported {made.get('file', '')}".strip()
    words = {"train": "Trained", "sparsify": "Sparse-trained", "finetune": "Fine-tuned"}.get(verb or "")
    if words is None:
        return KINDS.get(model.kind, model.kind)
    epochs = made.get("epochs_done", spec.get("epochs"))
    length = f" for {epochs} epoch{'' if epochs == 1 else 's'}" if epochs else ""
    return f"{words}{length}{source}"


def distinct_labels(names: Mapping[str, str]) -> dict[str, str]:
    """Return id -> name, numbered where several share a name."""
    given, seen = Counter(names.values()), Counter()
    labels = {}
    for key, name in names.items():
        seen[name] += 1
        labels[key] = name if given[name] == 1 else f"{name} ({seen[name]})"
    return labels


def with_names(sentence: str, models: Sequence[Model]) -> str:
    """Return a sentence about files with the models' names in place of their paths."""
    for model in models:
        sentence = sentence.replace(str(model.path), model.name)
    return sentence


def run_time(job: Job, now: datetime | None = None) -> float | None:
    """Return the seconds that a job has run."""
    if job.started_at is None:
        return None
    return ((job.finished_at or now or datetime.now(UTC)) - job.started_at).total_seconds()


def score(value: Any) -> str:
    """Return a metric from 0 to 1 with three decimals."""
    return f"{value:.3f}" if isinstance(value, (int, float)) else "–"


def judged(metrics: Mapping[str, Any], heading: str) -> str:
    """Return the metric that judges a model: '0.716', or with its name where the column's heading is another."""
    name = main_metric(metrics)
    if name is None or metric_label(name) == heading:
        return score(main_score(metrics))
    return f"{metric_label(name)} {score(main_score(metrics))}"


def milliseconds(time_ms: float) -> str:
    """Return a time with three digits, such as '8.43 ms'."""
    return f"{time_ms:.2f} ms" if time_ms < 10 else f"{time_ms:.1f} ms" if time_ms < 100 else f"{time_ms:,.0f} ms"

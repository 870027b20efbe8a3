"""Times and names as a person reads them, for pages alone; ``engine.base.numbers`` tells numbers. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from engine.base.numbers import NO_CHANGE, ratio, score
from engine.base.tasks import main_metric, main_score, metric_label
from engine.settings.verb_facts import WORDS
from engine.workspace.store import Job, Model

KINDS = {
    "imported": "Imported",
    "trained": "Trained",
    "sparse": "Sparse-trained",
    "pruned": "Pruned",
    "finetuned": "Fine-tuned",
    "demo": "Demo",
}
VERBS = WORDS
Colour = Literal["red", "orange", "blue", "green", "gray"]
"Those of Streamlit's badges that mean something here."
STATES: dict[str, tuple[str, Colour, str]] = {
    "queued": ("Queued", "gray", ":material/hourglass_empty:"),
    "running": ("Running", "blue", ":material/play_arrow:"),
    "stopping": ("Stopping", "orange", ":material/pending:"),
    "done": ("Done", "green", ":material/check:"),
    "stopped": ("Stopped", "gray", ":material/stop:"),
    "failed": ("Failed", "red", ":material/error:"),
    "interrupted": ("Interrupted", "orange", ":material/link_off:"),
}


class Delta(TypedDict, total=False):
    """What a metric needs to show a change."""

    delta: str
    delta_color: Literal["gray", "green", "red"]
    delta_arrow: Literal["up", "down", "off"]


def labels_of(labels: Mapping[Any, str]) -> Callable[[Any], str]:
    """Return how a widget shows its options: by their labels, and what is no option any more as it is."""
    return lambda option: labels.get(option, str(option))


def plain(text: str) -> str:
    """Return text that Markdown shows exactly as it is: names of files and models are not formatting."""
    # Streamlit looks for colours, icons and links in what is left of a text after escapes, so only something invisible
    # between a colon and what follows keeps them from it.
    text = re.sub(r":(?=[a-z/])", ":\u2060", text)
    return re.sub(r"([\\`*_\[\]$~<>#])", r"\\\1", text)


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
        return f"Pruned at ratio {ratio(made.get('ratio_achieved', spec.get('prune_ratio', 0)))}{source}"
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
    given = Counter(names.values())
    seen: Counter[str] = Counter()
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


def delta(text: str, change: float, *, less_is_better: bool = False) -> Delta:
    """Return what a metric needs to show a change: green for the better, red for the worse, grey for none.

    Streamlit tells a fall by the hyphen before it, which a true minus is not.
    """
    if abs(change) < NO_CHANGE:
        return {"delta": text, "delta_color": "gray", "delta_arrow": "off"}
    better = (change < 0) == less_is_better
    return {
        "delta": text,
        "delta_color": "green" if better else "red",
        "delta_arrow": "up" if change > 0 else "down",
    }


def judged(metrics: Mapping[str, Any], heading: str) -> str:
    """Return the metric that judges a model: '0.716', or with its name where the column's heading is another."""
    name = main_metric(metrics)
    if name is None or metric_label(name) == heading:
        return score(main_score(metrics))
    return f"{metric_label(name)} {score(main_score(metrics))}"

"""Models side by side: size, cost and accuracy of each, and the change against a reference.

Parameters and GFLOPs are Ultralytics' own counts, accuracy its own validator's, all models on the same images at the
same image size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import CheckpointError, WorkbenchError

Report = Callable[[dict[str, Any]], None]

GFLOPS_IMGSZ = 640
"Image size in pixels at which Ultralytics states GFLOPs."
_RELATIVE = ("params", "gflops", "size_mb")


@dataclass(frozen=True)
class MeasurementKey:
    """What a measured accuracy depends on.

    Batch and device belong to it: images of one batch share their padding, and devices round differently.
    """

    weights: str
    "SHA-256 of the checkpoint file."
    data: str
    "``dataset_digest`` of the split."
    split: str
    imgsz: int
    batch: int
    device: str


class MeasurementCache(Protocol):
    """Keeps what was measured; the values are JSON-able."""

    def get(self, key: MeasurementKey) -> dict[str, Any] | None:
        """Return what was put under the key, None where nothing was."""

    def put(self, key: MeasurementKey, measured: dict[str, Any]) -> None:
        """Keep a measurement."""


@dataclass(frozen=True)
class ModelSize:
    """What a checkpoint is, before anything is measured on images."""

    path: Path
    digest: str
    task: str
    names: dict[int, str]
    trained_imgsz: int
    "Pixels."
    params: int
    gflops: float
    size_mb: float
    "Of the file; 1 MB is 1,000,000 bytes."


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison."""

    weights: str
    name: str
    "The file's name, with as many folders as tell it from the others."
    params: int
    gflops: float
    size_mb: float
    metrics: dict[str, float]
    "Short name, such as mAP50-95 -> 0 to 1."
    per_class: dict[str, float]
    "Class name -> average precision over IoU 0.50 to 0.95, 0 to 1."
    speed_ms: dict[str, float]
    "Stage -> milliseconds an image."
    change: dict[str, float]
    "Against the reference: relative for params, gflops and size_mb, absolute for metrics."
    change_per_class: dict[str, float]
    "Absolute."


@dataclass(frozen=True)
class Comparison:
    """Models in the order they were named."""

    reference: str
    data: str
    split: str
    imgsz: int
    gflops_imgsz: int
    models: tuple[ComparedModel, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-able values."""
        return {**asdict(self), "models": [asdict(model) for model in self.models]}


def compare(
    weights: Sequence[Path],
    data: Path,
    reference: Path | None = None,
    *,
    imgsz: int | None = None,
    gflops_imgsz: int = GFLOPS_IMGSZ,
    batch: int = 16,
    device: str = "cpu",
    split: str = "val",
    report: Report = lambda event: None,
    validate: Callable[..., Any] | None = None,
    cache: MeasurementCache | None = None,
) -> Comparison:
    """Measure models one after another and hold them against one of them.

    Args:
        weights: checkpoints of the same task and classes.
        data: the data set's YAML description.
        reference: what changes are relative to, the first model by default; put first where ``weights`` lacks it.
        imgsz: longest image side in pixels, the same for all; the one that the reference was trained at by default.
        gflops_imgsz: image size in pixels that GFLOPs are counted at.
        batch: images per forward pass.
        device: as Ultralytics writes it.
        split: ``train``, ``val`` or ``test``.
        report: receives ``status`` events, and ``step`` events that count finished models.
        validate: as ``engine.evaluation.validate``.
        cache: asked before, and told after, each validation.

    Raises:
        CheckpointError: a file cannot be opened, or is of another task or other classes than the reference.
        PlanError: a model does not run at ``gflops_imgsz``.
        DatasetError, TrainingError: as ``engine.evaluation.validate``.
    """
    from engine.training import check_task

    paths = _with_reference([Path(path) for path in weights], reference)
    if not paths:
        raise WorkbenchError("There is nothing to compare; name at least one model.")
    first = next(i for i, path in enumerate(paths) if reference is None or _same_file(path, Path(reference)))
    sizes = [measure_size(path, gflops_imgsz) for path in paths]
    base = sizes[first]
    check_task(base.task)
    for size in sizes:
        _check_alike(size, base)
    imgsz = base.trained_imgsz if imgsz is None else imgsz
    data_key = dataset_digest(data, split) if cache is not None else ""
    measured: list[dict[str, Any]] = []
    for size in sizes:
        key = MeasurementKey(size.digest, data_key, split, imgsz, batch, device)
        known = cache.get(key) if cache is not None else None
        if known is None:
            known = _validated(size.path, data, key, validate, _counting(report, len(measured), len(sizes)))
            if cache is not None:
                cache.put(key, known)
        else:
            report({"kind": "status", "text": f"{size.path.name} was measured before"})
        measured.append(known)
        report({"kind": "step", "step": len(measured), "steps": len(sizes)})
    names = distinct_names(paths)
    models = [_compared(*entry, base, measured[first]) for entry in zip(sizes, names, measured, strict=True)]
    return Comparison(str(base.path), str(data), split, imgsz, gflops_imgsz, tuple(models))


def measure_size(path: Path, gflops_imgsz: int = GFLOPS_IMGSZ) -> ModelSize:
    """Open a checkpoint and count its parameters, and its GFLOPs at an image size in pixels."""
    from engine.checkpoint import open_checkpoint
    from engine.cost import count_operations

    checkpoint = open_checkpoint(path)
    operations, _, _ = count_operations(checkpoint.model, gflops_imgsz, gflops_imgsz)
    return ModelSize(
        path=Path(path),
        digest=checkpoint.digest,
        task=checkpoint.task,
        names=checkpoint.names,
        trained_imgsz=checkpoint.imgsz,
        params=checkpoint.params,
        gflops=operations / 1e9 * 2,
        size_mb=Path(path).stat().st_size / 1e6,
    )


def comparable(weights: Sequence[str | Path], report: Report = lambda event: None) -> list[str | Path]:
    """Return the checkpoints of the same task and classes as the last one; a status names each that is left out.

    Training takes the class names of its data set, so what a chain started from may know others than what it made.
    """
    from engine.checkpoint import open_checkpoint

    known = [(checkpoint.task, checkpoint.names) for checkpoint in map(open_checkpoint, weights)]
    for path, own in zip(weights, known, strict=True):
        if own != known[-1]:
            text = f"{path} is left out of the comparison: it knows other classes ({_listed(own[1])})"
            report({"kind": "status", "text": text})
    return [path for path, own in zip(weights, known, strict=True) if own == known[-1]]


def dataset_digest(data: Path, split: str) -> str:
    """Return a SHA-256 that changes with the description, and with the images and labels of a split.

    Files count by name, size and time of change; reading thousands of pictures would take longer than it saves.

    Raises:
        DatasetError: the data set is unusable or has no such split.
    """
    from ultralytics.data.utils import img2label_paths

    from engine.datasets import check_dataset, image_files

    info = check_dataset(data)
    images = [str(path) for path in image_files(info, split)]
    digest = hashlib.sha256(info.yaml_path.read_bytes())
    for file in (*images, *img2label_paths(images)):
        digest.update(f"{file}\0{_stamp(Path(file))}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the files' names, each with as few folders before it as tell all of them apart."""
    parts = [Path(path).absolute().parts for path in paths]
    different = len(set(parts))
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == different:
            return names
    return [str(path) for path in paths]


def changes(values: Mapping[str, float], reference: Mapping[str, float], *, relative: bool) -> dict[str, float]:
    """Return the change of every value that the reference has too; a relative one needs a reference other than 0."""
    shared = [name for name in values if name in reference and not (relative and reference[name] == 0)]
    return {name: (values[name] - reference[name]) / (reference[name] if relative else 1) for name in shared}


def comparison_table(result: Mapping[str, Any]) -> str:
    """Return a comparison, as ``Comparison.as_dict`` gives it, as an aligned table."""
    models = result["models"]
    metrics = list(dict.fromkeys(name for model in models for name in model["metrics"]))
    classes = list(dict.fromkeys(name for model in models for name in model["per_class"]))
    rows = [["", *(model["name"] for model in models)]]
    rows.append(["parameters", *(_cell(f"{m['params']:,}", m["change"].get("params"), "%") for m in models)])
    rows.append(["GFLOPs", *(_cell(f"{m['gflops']:.2f}", m["change"].get("gflops"), "%") for m in models)])
    rows.append(["MB", *(_cell(f"{m['size_mb']:.2f}", m["change"].get("size_mb"), "%") for m in models)])
    for title, key, of in [(name, name, ("metrics", "change")) for name in metrics] + [
        (f"AP {name}", name, ("per_class", "change_per_class")) for name in classes
    ]:
        rows.append([title, *(_cell(_number(m[of[0]].get(key)), m[of[1]].get(key)) for m in models)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    lines.append(f"changes against {result['reference']}; {result['split']} split at {result['imgsz']} px")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(text: str, change: float | None, unit: str = "") -> str:
    if not change:  # the reference itself, or nothing to compare with
        return text
    return f"{text} ({change:+.1%})" if unit else f"{text} ({change:+.3f})"


def _same_file(first: Path, second: Path) -> bool:
    return first.absolute() == second.absolute() or (first.exists() and second.exists() and first.samefile(second))


def _with_reference(paths: list[Path], reference: Path | None) -> list[Path]:
    if reference is None or any(_same_file(path, Path(reference)) for path in paths):
        return paths
    return [Path(reference), *paths]


def _check_alike(size: ModelSize, base: ModelSize) -> None:
    """Refuse what cannot be measured on the same labels."""
    if size.task != base.task:
        raise CheckpointError(
            f"{size.path} is a model for {size.task} and {base.path} one for {base.task}; compare models of one task."
        )
    if size.names != base.names:
        raise CheckpointError(
            f"{size.path} knows other classes ({_listed(size.names)}) than {base.path} ({_listed(base.names)}); "
            "compare models of the same classes."
        )


def _listed(names: Mapping[int, str]) -> str:
    shown = [names[index] for index in sorted(names)][:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _counting(report: Report, done: int, models: int) -> Report:
    """Pass statuses on; batches become the count of finished models, so that a wish to stop is heard at each."""

    def passed(event: dict[str, Any]) -> None:
        report({"kind": "step", "step": done, "steps": models} if event["kind"] == "step" else event)

    return passed


def _validated(
    path: Path, data: Path, key: MeasurementKey, validate: Callable[..., Any] | None, report: Report
) -> dict[str, Any]:
    if validate is None:
        from engine.evaluation import validate
    settings = {"imgsz": key.imgsz, "batch": key.batch, "device": key.device, "split": key.split}
    measured = validate(Path(path), Path(data), **settings, report=report).as_dict()
    return {name: measured[name] for name in ("metrics", "per_class", "speed_ms")}


def _compared(
    size: ModelSize, name: str, measured: dict[str, Any], base: ModelSize, base_measured: dict[str, Any]
) -> ComparedModel:
    own, reference = ({key: getattr(each, key) for key in _RELATIVE} for each in (size, base))
    return ComparedModel(
        weights=str(size.path),
        name=name,
        **own,
        metrics=measured["metrics"],
        per_class=measured["per_class"],
        speed_ms=measured["speed_ms"],
        change=changes(own, reference, relative=True)
        | changes(measured["metrics"], base_measured["metrics"], relative=False),
        change_per_class=changes(measured["per_class"], base_measured["per_class"], relative=False),
    )


def _stamp(file: Path) -> str:
    try:
        facts = file.stat()
    except OSError:  # an image without a label file shows background
        return "missing"
    return f"{facts.st_size} {facts.st_mtime_ns}"

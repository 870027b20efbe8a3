"""What sparse training costs: epochs with and without it in turns, in one run, and the time spent in its own code.

    python benchmarks/overhead.py --weights yolov8n.pt --data data.yaml

Plain and sparse epochs alternate (plain, sparse, sparse, plain) within one Ultralytics run without validation, so that
both see the same machine. CPU seconds of all threads are compared, which other programs disturb less than the clock.
The worst case is measured: an optimizer step, and so all the work of the sparsifier, after every batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.base.runtime import import_ultralytics, logs_to_stderr

import_ultralytics()

from engine.datasets import check_dataset, resolved_yaml  # noqa: E402
from engine.jobs.reporting import EventWriter  # noqa: E402
from engine.training import TRAINERS, TrainSettings  # noqa: E402
from engine.training.progress import Progress  # noqa: E402
from engine.training.sparsity import METHODS, Sparsifier, SparsitySettings  # noqa: E402
from engine.workspace.store import Store  # noqa: E402

PATTERN = (False, True, True, False)
"Which of four epochs are sparse."
WARM_UP = 4
"Epochs that are not counted."
HOOKS = ("_look", "_fade", "_shrink", "_add_subgradient")


class Stopwatch:
    """Adds up the seconds spent in functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - begun

        return timed


def measure(weights: Path, data: Path, method: str, epochs: int, imgsz: int, batch: int) -> None:
    """Print what one method costs."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = Store(folder / "workspace")
        job = store.add_job("sparsify", {}, "overhead")
        store.claim_job(job.id, os.getpid(), time.time())  # it runs, so nothing asks it to stop
        writer = EventWriter(store, job.id)
        own, reporting = Stopwatch(), Stopwatch()
        settings = TrainSettings(
            weights=str(weights),
            data=resolved_yaml(check_dataset(data), folder),
            save_dir=folder / "run",
            epochs=epochs,
            imgsz=imgsz,
            batch=batch,
            nbs=batch,
            lr0=0.0008,
            sparsity=SparsitySettings(method=method),
            extra={"val": False, "verbose": False},
        )
        trainer = TRAINERS["detect"](overrides=settings.overrides())
        progress = Progress(settings, reporting.around(writer))
        progress.attach(trainer)
        sparse = lambda: PATTERN[trainer.epoch % len(PATTERN)]  # noqa: E731
        for event in ("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_fit_epoch_end"):
            callback = own.around(trainer.callbacks[event][-1])
            trainer.callbacks[event][-1] = lambda t, callback=callback: callback(t) if sparse() else None
        for hook in HOOKS:
            timed = own.around(getattr(Sparsifier, hook))
            setattr(Sparsifier, hook, lambda self, timed=timed: timed(self) if sparse() else None)
        marks: list[tuple[float, float, float, float]] = []
        now = lambda: (time.process_time(), time.perf_counter(), own.seconds, reporting.seconds)  # noqa: E731
        trainer.add_callback("on_train_epoch_start", lambda t: marks.append(now()))
        with logs_to_stderr(), store.kept_open():  # as the worker of a job does
            trainer.train()
    spans = [tuple(end - begin for begin, end in zip(*pair, strict=True)) for pair in pairwise(marks[WARM_UP:])]
    kinds = [PATTERN[number % len(PATTERN)] for number in range(len(spans))]
    plain, with_it = (
        [span for span, kind in zip(spans, kinds, strict=True) if kind is wanted] for wanted in (False, True)
    )
    cpu = [statistics.median(span[0] for span in group) for group in (plain, with_it)]
    own_share = statistics.median(span[2] / span[1] for span in with_it)
    report_share = statistics.median(span[3] / span[1] for span in with_it)
    print(
        f"{method:<10} CPU seconds an epoch: plain {cpu[0]:.3f}, sparse {cpu[1]:.3f}, ratio {cpu[1] / cpu[0]:.4f} "
        f"({len(with_it)} sparse epochs); time in its own code {own_share:.2%} of the epoch, "
        f"of which reporting {report_share:.3%}",
        flush=True,
    )


def main() -> None:
    """Measure every method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--epochs", type=int, default=25, help="of each method, plain and sparse together")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--method", choices=METHODS, action="append")
    options = parser.parse_args()
    for method in options.method or METHODS:
        saved = {hook: getattr(Sparsifier, hook) for hook in HOOKS}
        measure(options.weights, options.data, method, options.epochs, options.imgsz, options.batch)
        for hook, original in saved.items():
            setattr(Sparsifier, hook, original)


if __name__ == "__main__":
    main()

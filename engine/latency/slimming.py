"""Slimming to a latency on this machine."""

from __future__ import annotations

from collections.abc import Callable

from engine.checkpoint import Checkpoint
from engine.importance import ImportanceSettings
from engine.latency.costs import LatencyCosts
from engine.latency.parts import checkpoint_parts
from engine.latency.table import LatencyTable
from engine.slimming import Slimming
from engine.solver import Budget, PrunePlan, SolverSettings, solve_budget

Reporter = Callable[[dict], None]


class TimedSlimming(Slimming):
    """An opened checkpoint whose budgets may name a latency.

    Args:
        checkpoint: as ``Slimming`` takes it.
        threads: of ONNX Runtime; every available core if None.
        table: of latencies; this machine's if None.
        report: receives ``status`` events while something is measured.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        threads: int | None = None,
        table: LatencyTable | None = None,
        report: Reporter = lambda event: None,
    ) -> None:
        from engine.runtime import compute_threads

        super().__init__(checkpoint)
        self._table = table or LatencyTable.of_this_machine(threads or compute_threads())
        self._report = report
        self._timed: dict[int, LatencyCosts] = {}

    def timed_costs(self, imgsz: int) -> LatencyCosts:
        """Return the cost model that predicts latency at an image size in pixels.

        The first call on a machine measures its convolutions (about a minute), the first for a checkpoint the whole
        model (seconds).

        Raises:
            ExportError: the checkpoint cannot be exported to ONNX, and so not be timed.
        """
        if imgsz not in self._timed:
            self._timed[imgsz] = LatencyCosts(
                self.cost_model(imgsz),
                self.graph,
                self.checkpoint.model,
                imgsz,
                self._table,
                self.checkpoint.digest,
                lambda: checkpoint_parts(self.checkpoint.path, imgsz, self._table.threads),
                self._report,
            )
        return self._timed[imgsz]

    def plan(
        self,
        target: float | Budget,
        settings: SolverSettings | None = None,
        imgsz: int = 640,
        importance: ImportanceSettings | None = None,
    ) -> PrunePlan:
        """Solve for a ratio, or for a budget, which may name a latency at the image size."""
        if isinstance(target, Budget) and target.latency_ms is not None:
            return solve_budget(self.ranking(settings, importance), self.timed_costs(imgsz), target)
        return super().plan(target, settings, imgsz, importance)

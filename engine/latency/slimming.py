"""Slimming to a latency on this machine."""

from __future__ import annotations

from collections.abc import Callable

from engine.checkpoint import Checkpoint
from engine.cost import CostModel
from engine.latency.costs import LatencyCosts
from engine.latency.parts import checkpoint_parts
from engine.latency.table import LatencyTable
from engine.slimming import Slimming
from engine.solver import Budget

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

    def budget_costs(self, budget: Budget, imgsz: int) -> CostModel | LatencyCosts:
        """Return the cost model that a budget is counted by; the one that predicts latency where it names one."""
        return self.cost_model(imgsz) if budget.latency_ms is None else self.timed_costs(imgsz)

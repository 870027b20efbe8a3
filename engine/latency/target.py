"""Slimming to a latency on this machine."""

from __future__ import annotations

from dataclasses import asdict

from engine.base.errors import PlanError
from engine.base.events import Report, silent, status_event
from engine.base.imgsz import ImageSize, as_size, pixels
from engine.checkpoints.checkpoint import Checkpoint
from engine.latency.costs import LatencyCosts, ModelParts
from engine.latency.layers import convolutions
from engine.latency.parts import checkpoint_parts
from engine.latency.table import LatencyTable
from engine.profile.cost import Costs
from engine.pruning.session import Slimming
from engine.pruning.solver import Budget


class TimedSlimming(Slimming):
    """An opened checkpoint whose budgets may name a latency.

    Args:
        checkpoint: as ``Slimming`` takes it.
        threads: of ONNX Runtime; every available core if None.
        table: of latencies; this machine's if None.
        report: receives ``status`` and ``step`` events while something is measured; may raise ``StopRequested``.

    Raises:
        PlanError: as ``Slimming``, or there is no such number of threads.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        threads: int | None = None,
        table: LatencyTable | None = None,
        report: Report = silent,
    ) -> None:
        from engine.base.runtime import compute_threads

        if threads is not None and threads < 1:
            raise PlanError(f"Latency cannot be predicted for {threads} threads; ask for 1 or more.")
        super().__init__(checkpoint)
        self.table = table or LatencyTable.of_this_machine(threads or compute_threads())
        self._report = report
        self._timed: dict[ImageSize, LatencyCosts] = {}

    def timed_costs(self, imgsz: ImageSize) -> LatencyCosts:
        """Return the cost model that predicts latency at an image size: pixels, or (height, width).

        The first call for a checkpoint measures the whole model (seconds), the first on a machine its convolutions
        as well (about a minute).

        Raises:
            PlanError: the model does not run at that image size.
            ExportError: the checkpoint cannot be exported to ONNX, and so not be timed.
        """
        imgsz = as_size(imgsz)
        if imgsz not in self._timed:
            costs, table = self.cost_model(imgsz), self.table
            parts = table.model_parts(self.checkpoint.digest, imgsz, lambda: self._measured_parts(imgsz))
            layers = convolutions(self.graph, self.convolutions(imgsz))
            table.prepare(layers, self._report)
            self._timed[imgsz] = LatencyCosts(costs, self.graph, layers, ModelParts(**parts), table)
        return self._timed[imgsz]

    def _measured_parts(self, imgsz: ImageSize) -> dict[str, float]:
        self._report(status_event(f"Timing the whole model at {pixels(imgsz)}"))
        return asdict(checkpoint_parts(self.checkpoint.path, imgsz, self.table.threads))

    def budget_costs(self, budget: Budget, imgsz: ImageSize) -> Costs:
        """Return the cost model that a budget is counted by; the one that predicts latency where it names one."""
        return self.cost_model(imgsz) if budget.latency_ms is None else self.timed_costs(imgsz)

"""One training run: what it is asked for, and what it left behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.base.devices import check_device, device_indices
from engine.base.errors import TrainingError
from engine.base.imgsz import as_size
from engine.pruning.solver import Budget
from engine.settings.fields import check_values, default_of
from engine.settings.requests import TrainRequest
from engine.training.sparsity import SparsitySettings
from engine.training.sparsity.reach import warmup_epochs
from engine.training.trackers import check_trackers

_usual = partial(default_of, TrainRequest)


@dataclass(frozen=True)
class TrainSettings:
    """One training run."""

    weights: str
    "Checkpoint to start from, or a model YAML to start from scratch (plain training only)."
    data: Path
    "Data set description with an absolute ``path``."
    save_dir: Path
    epochs: int
    imgsz: int
    batch: int | float = _usual("batch")
    "Images a batch; -1, or a share of the GPU's memory, for what ``with_batch`` then chooses."
    device: str = "cpu"
    optimizer: str = _usual("optimizer")
    "Explicit: ``auto`` ignores the learning rate."
    lr0: float = _usual("lr0")
    "Initial learning rate."
    cos_lr: bool = _usual("cos_lr")
    nbs: int = _usual("nbs")
    "Nominal batch size: gradients of about so many images are gathered before an optimizer step."
    workers: int = _usual("workers")
    seed: int = _usual("seed")
    patience: int = _usual("patience")
    "Epochs without improvement after which training ends early; 0 for never."
    bn_momentum: float | None = None
    "Share of a batch in the running statistics of BatchNorm while training; None for what each layer says."
    sparsity: SparsitySettings | None = None
    teacher: str | None = None
    "Checkpoint of the model to distil from, by Ultralytics' own ``distill_model``."
    resume: bool = False
    "Go on with the run that was stopped or killed in ``save_dir``."
    processes: int = _usual("processes")
    "Training processes on the CPU; on GPUs there is one for each device."
    tracker: tuple[str, ...] = _usual("tracker")
    "Experiment trackers that record the run, see ``engine.training.trackers``."
    extra: dict[str, Any] = field(default_factory=dict)
    "Further Ultralytics training arguments."

    def __post_init__(self) -> None:
        check_values(TrainRequest, self, TrainingError, but=("data", "save_dir"))
        check_device(self.device)
        if self.processes > 1 and self.device != "cpu":
            raise TrainingError(f"{self.processes} processes on {self.device}: only the CPU takes a number of them.")
        if not self.automatic_batch and self.batch % self.world_size:
            raise TrainingError(
                f"A batch of {self.batch} cannot be shared evenly by {self.world_size} processes; use a multiple."
            )
        check_trackers(self.tracker)
        if self.world_size > 1 and self.extra.get("rect"):
            raise TrainingError(
                "rect=True works with one process alone: several would share out images of other shapes; leave it out."
            )

    @property
    def automatic_batch(self) -> bool:
        """Whether the batch is still to be chosen (AutoBatch)."""
        return self.batch == -1 or 0 < self.batch < 1

    @property
    def whole_batch(self) -> int:
        """The batch, once it is chosen."""
        return int(self.batch)

    @property
    def world_size(self) -> int:
        """Processes that train together; each takes an equal share of the batch."""
        return max(len(device_indices(self.device)), self.processes)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return {**asdict(self), "data": str(self.data), "save_dir": str(self.save_dir)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainSettings:
        """Return the settings that ``as_dict`` gave."""
        sparsity = values["sparsity"]
        if sparsity:
            budget = Budget(**sparsity["budget"]) if sparsity["budget"] else None
            own = {"budget": budget, "budget_imgsz": as_size(sparsity["budget_imgsz"])}  # JSON has no pairs
            sparsity = SparsitySettings(**{**sparsity, **own})
        paths = {"data": Path(values["data"]), "save_dir": Path(values["save_dir"])}
        tracker = tuple(values.get("tracker", ()))
        return cls(**{**values, **paths, "sparsity": sparsity, "tracker": tracker})

    def overrides(self) -> dict[str, Any]:
        """Return Ultralytics' arguments for this run."""
        return {
            "model": self.weights,
            "data": str(self.data),
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "batch": self.batch,
            "device": self.device,
            "optimizer": self.optimizer,
            "lr0": self.lr0,
            "cos_lr": self.cos_lr,
            "nbs": self.nbs,
            "workers": self.workers,
            "seed": self.seed,
            "patience": self.patience,
            "warmup_epochs": warmup_epochs(self.epochs),
            # Ultralytics starts biases at a rate of 0.1, which suits random weights and throws trained ones back.
            **({} if self.weights.endswith((".yaml", ".yml")) else {"warmup_bias_lr": 0.0}),
            "project": str(self.save_dir.resolve().parent),
            "name": self.save_dir.name,
            "exist_ok": True,
            **({"distill_model": self.teacher} if self.teacher else {}),
            "plots": False,
            **self.extra,
        }


def training_bytes(params: int) -> int:
    """Return how much free space a run of a model should find, in bytes.

    While the state is replaced, two of it are there: weights, average and up to two moments of an optimizer in full
    precision, and gradients. The two checkpoints take up to half as much again, the results next to nothing.
    """
    return 60 * params + 20_000_000


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind."""

    best: Path
    last: Path
    params: int
    epochs_done: int
    stopped: bool
    "The run was asked to stop before its last epoch."
    metrics: dict[str, float]
    "Of best.pt on the validation split: mAP50, mAP50-95, precision, recall where the task has them."
    last_metrics: dict[str, float]
    "The same of last.pt."
    start: dict[str, float] | None = None
    "The same of the model that training began with, as its trainer measured it; None where it did not."
    kept_start: bool | None = None
    "Whether no epoch was better, so that best.pt is that model; None where it was not measured."

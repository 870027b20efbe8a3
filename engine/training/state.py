"""The whole state of a run between two epochs: enough to go on as if it had never been interrupted.

A checkpoint of Ultralytics holds the averaged weights alone, in half precision, so that a run resumed from one is
another run. This state holds weights, average, optimizer and gathered gradients in full precision, random states, the
order of the images and everything else that the next epoch depends on: plain values and tensors, which PyTorch's
restricted loader opens. On the CPU a run that goes on from it ends with the very weights of one in one go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import ultralytics
from torch import Tensor, distributed, nn
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from engine.base.errors import TrainingError
from engine.base.files import atomic_path, write_text_atomic
from engine.training.randomness import loader_state, random_states, set_loader_state, set_random_states

STATE_FORMAT = 1
UNREADABLE = "{path} cannot be read, so this run cannot go on; start it anew in another folder."
_TEACHER = "teacher_model."
_PLAIN = (bool, int, float)


def student_of(model: nn.Module) -> nn.Module:
    """Return the model that is trained, out of its wrappers for several processes and for distillation."""
    model = unwrap_model(model)
    return getattr(model, "student_model", model)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, all of it or nothing.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    with atomic_path(path) as aside:
        torch.save(state, aside)


def read_state(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Return a state that ``write_state`` wrote, its tensors on the CPU; ``lazily`` leaves them on the disk.

    Raises:
        TrainingError: It is damaged, or of a newer version.
    """
    state = read_plain(path, lazily=lazily)
    if state.get("format") != STATE_FORMAT:
        raise TrainingError(
            f"{path} was written by another version, so this run cannot go on here; start it anew in another folder."
        )
    return state


def read_plain(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Return a file of plain values and tensors by name; arguments and errors as ``read_state``."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except Exception as error:  # the loader lets through whatever a damaged file provokes
        raise TrainingError(UNREADABLE.format(path=path)) from error
    if not isinstance(content, dict):
        raise TrainingError(UNREADABLE.format(path=path))
    return content


def capture(trainer: BaseTrainer) -> dict[str, Any] | None:
    """Return the state of a trainer between two epochs. Every process must ask; all but the first get None."""
    own = _own_part(trainer)
    parts: list[dict[str, Any] | None] = [own]
    if distributed.is_initialized():
        parts = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, own)
    if RANK > 0:
        return None
    model, stopper = unwrap_model(trainer.model), trainer.stopper
    return {
        "format": STATE_FORMAT,
        "epochs_done": trainer.epoch + 1,
        "surroundings": _surroundings(trainer),
        "model": _tensors(model),
        "ema": _tensors(trainer.ema.ema),
        "ema_updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "gradients": {n: p.grad for n, p in model.named_parameters() if p.grad is not None},
        "gathered": trainer.gathered_batches,
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": _number(trainer.best_fitness),
        "fitness": _number(trainer.fitness),
        "start_metrics": trainer.start_metrics,
        "best_epoch": trainer.best_epoch,
        "metrics": {name: float(value) for name, value in (trainer.metrics or {}).items()},
        "stopper": {
            "best_fitness": _number(stopper.best_fitness),
            "best_epoch": stopper.best_epoch,
            "possible_stop": bool(stopper.possible_stop),
        },
        "seconds": trainer.seconds,
        "results": trainer.csv.read_text(encoding="utf-8") if trainer.csv.exists() else None,
        "sparsifier": trainer.sparsifier.state_dict() if trainer.sparsifier else None,
        "processes": parts,
    }


def restore(trainer: BaseTrainer, state: dict[str, Any]) -> None:
    """Put a trainer that is set up, and has not begun, where the one was that a state was taken of.

    What the first batch alone depends on is put back by ``restore_images``, as late as can be.

    Raises:
        TrainingError: The state belongs to another model or optimizer.
    """
    own = _part_of(state)
    try:
        _set_tensors(unwrap_model(trainer.model), {**state["model"], **own["buffers"]})
        _set_tensors(trainer.ema.ema, {**state["ema"], **own["ema_buffers"]})
        for saved, group in zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
            saved["fused"] = group.get("fused")  # this device picks the kernel, not the one of before
        trainer.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            trainer.scaler.load_state_dict(state["scaler"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError("The saved state of this run belongs to another model; start the run anew.") from error
    trainer.ema.updates = state["ema_updates"]
    _set_criterion(student_of(trainer.model), own["criterion"])
    trainer.best_fitness, trainer.fitness = state["best_fitness"], state["fitness"]
    trainer.metrics = dict(state["metrics"])
    trainer.start_metrics, trainer.best_epoch = state.get("start_metrics"), state.get("best_epoch")
    vars(trainer.stopper).update(state["stopper"])
    trainer.start_epoch = state["epochs_done"]
    trainer.epoch = trainer.start_epoch - 1
    trainer.scheduler.last_epoch = trainer.start_epoch - 1
    if RANK in {-1, 0} and state["results"] is not None:
        write_text_atomic(trainer.csv, state["results"])


def restore_images(trainer: BaseTrainer, state: dict[str, Any]) -> None:
    """Put back what the first batch depends on: gradients gathered so far, random states, the order of the images."""
    for name, parameter in unwrap_model(trainer.model).named_parameters():
        if name in state["gradients"]:
            parameter.grad = state["gradients"][name].to(parameter.device)
    if len(state["processes"]) <= RANK:
        return  # there were fewer processes, and random states of another one would repeat its images
    own = _part_of(state)
    closing = bool(trainer.args.close_mosaic) and trainer.start_epoch == trainer.epochs - trainer.args.close_mosaic
    set_loader_state(trainer.train_loader, own["loader"], begins_anew=closing)
    set_random_states(own["random"], trainer.device)


def differences(trainer: BaseTrainer, state: dict[str, Any]) -> list[str]:
    """Return what is not as it was, and so changes the digits of a run that goes on, such as 'batch 8, not 4'."""
    now = _surroundings(trainer)
    return [f"{name} {now[name]}, not {then}" for name, then in state["surroundings"].items() if now.get(name) != then]


def _surroundings(trainer: BaseTrainer) -> dict[str, Any]:
    return {
        "PyTorch": str(torch.__version__),
        "Ultralytics": ultralytics.__version__,
        "device": trainer.device.type,
        "batch": trainer.batch_size,
        "processes": max(trainer.world_size, 1),
        "training images": len(trainer.train_loader.dataset),
    }


def _own_part(trainer: BaseTrainer) -> dict[str, Any]:
    """Return what each process has of its own; BatchNorm statistics are not shared between processes."""
    model = unwrap_model(trainer.model)
    return {
        "buffers": {name: tensor.cpu() for name, tensor in _tensors(model, buffers_only=True).items()},
        "ema_buffers": {name: tensor.cpu() for name, tensor in _tensors(trainer.ema.ema, buffers_only=True).items()},
        "criterion": _criterion(student_of(model)),
        "random": random_states(trainer.device),
        "loader": loader_state(trainer.train_loader),
    }


def _part_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the part of this process, the first one's where there was no such process."""
    parts = state["processes"]
    return parts[RANK] if 0 < RANK < len(parts) else parts[0]


def _tensors(model: nn.Module, *, buffers_only: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a model's state, but for a teacher's, which does not change."""
    buffers = {name for name, _ in model.named_buffers()} if buffers_only else None
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(_TEACHER) and (buffers is None or name in buffers)
    }


def _set_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what ``_tensors`` returned; raises RuntimeError where the model is another."""
    if _tensors(model).keys() != tensors.keys():
        raise RuntimeError("the names of the tensors differ")
    model.load_state_dict(tensors, strict=False)


def _criterion(model: nn.Module) -> dict[str, Any]:
    """Return the numbers of a model's loss: some losses weigh their parts otherwise from epoch to epoch."""
    loss = getattr(model, "criterion", None)
    return {} if loss is None else {name: value for name, value in vars(loss).items() if type(value) in _PLAIN}


def _set_criterion(model: BaseModel, numbers: dict[str, Any]) -> None:
    if numbers:
        model.criterion = model.init_criterion()
        vars(model.criterion).update(numbers)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)

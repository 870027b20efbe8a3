"""Keeps stock training from undoing a pruning.

Ultralytics' own trainers build a new network from the model's description (``model.yaml``) and load into it whatever
weights still fit: a pruned model would come out of them in full size, without a word. A pruned model therefore carries
a description that cannot be built: where the name of its first layer's class stood, it says what to do instead. Stock
code that builds from it ends in an error with that sentence; everything else (predict, val, export, fuse, save ...)
never looks there.
"""

from __future__ import annotations

import copy
from pathlib import PurePath
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import BaseModel, WorldModel, YOLOEModel, guess_model_task, parse_model

OPENING = "This model was pruned"
"How the sentence begins, in every version."


def unpruning_sentence(task: str) -> str:
    """Return what a person reads who trains a pruned model of this task with stock Ultralytics."""
    return (
        f"{OPENING} and stock Ultralytics training would rebuild the full network: train it with `python -m engine "
        "finetune --weights pruned.pt --data data.yaml` of the YOLO slimming workbench, or in Python with "
        f'YOLO("pruned.pt").train(trainer=engine.training.TRAINERS["{task}"], data="data.yaml").'
    )


def is_marked(model: nn.Module) -> bool:
    """Whether a model carries the sentence."""
    return is_marked_description(getattr(model, "yaml", None))


def is_marked_description(description: Any) -> bool:
    """Whether a model's description carries the sentence."""
    if not isinstance(description, dict) or not description.get("backbone"):
        return False
    return str(description["backbone"][0][2]).startswith(OPENING)


def mark_pruned(model: BaseModel) -> None:
    """Give a model that was pruned its own copy of its description, with the sentence in it.

    A model without a description, which stock training cannot build anyway, is left alone.
    """
    description = getattr(model, "yaml", None)
    if not isinstance(description, dict) or not description.get("backbone"):
        return
    sentence = unpruning_sentence(getattr(model, "task", None) or guess_model_task(model) or "detect")
    marked = copy.deepcopy(description)
    first = list(marked["backbone"][0])
    first[2] = sentence
    marked["backbone"][0] = first
    if isinstance(model, (WorldModel, YOLOEModel)) and "yaml_file" in description:
        # Their trainers build from the file that the description names. Its last part stays the model's name.
        marked["yaml_file"] = f"{sentence}/{PurePath(description['yaml_file']).name}"
    model.yaml = marked


def mark_if_narrower(model: nn.Module) -> None:
    """Give the sentence to a model that was pruned and does not carry it: version 0.2 wrote such files."""
    if not is_marked(model) and _is_narrower(model):
        mark_pruned(model)


def is_pruned(model: nn.Module) -> bool:
    """Whether a model was pruned: it says so, or its layers are narrower than its description builds them."""
    return is_marked(model) or _is_narrower(model)


def _is_narrower(model: nn.Module) -> bool:
    """Whether a layer has fewer channels than the model's description gives it.

    Ultralytics' own transfer to another number of classes keeps the width of the class branch, which comes from the
    number that the source had; that is no pruning. Where the layers before the head are others (an old checkpoint
    whose description means something else by now), the description tells nothing.
    """
    description = getattr(model, "yaml", None)
    layers = getattr(model, "model", None)
    if not isinstance(description, dict) or not isinstance(layers, nn.Sequential):
        return False
    rows = [*(description.get("backbone") or ()), *(description.get("head") or ())]
    if any(row[2] == "TorchVision" for row in rows):  # building it might download its weights
        return False
    classes = description.get("nc")
    for number in {classes, *_source_classes(layers[-1])}:
        full = _built(description, number)
        if full is None or not _has_less(layers, full, {(classes, number)}):
            return False
    return True


def _built(description: dict[str, Any], classes: int | None) -> nn.Sequential | None:
    """Return the layers of a description for so many classes, without their numbers; None where it builds nothing."""
    description = {**copy.deepcopy(description), **({} if classes is None else {"nc": classes})}
    activation = Conv.default_act
    try:
        with torch.device("meta"):  # shapes without numbers
            return parse_model(description, ch=description.get("channels", 3), verbose=False)[0]
    except Exception:  # whatever the code of an unusual layer raises
        return None
    finally:
        Conv.default_act = activation  # a description may set it for the whole process


def _source_classes(head: nn.Module) -> tuple[int, ...]:
    """Return numbers of classes that give the class branch the width it has, see ``ultralytics.nn.modules.Detect``."""
    branches = getattr(head, "cv3", None)
    last = branches[0][-1] if isinstance(branches, nn.ModuleList) and isinstance(branches[0], nn.Sequential) else None
    return (last.in_channels, 1) if isinstance(last, nn.Conv2d) else ()


def _has_less(layers: nn.Sequential, full: nn.Sequential, exempt: set[tuple[int | None, int | None]]) -> bool:
    """Whether an extent is smaller than in the full network, and none before the head is larger.

    Args:
        layers: Of the model.
        full: As its description builds them.
        exempt: (own, full) pairs that say nothing: the numbers of classes.
    """
    own = {name: tensor.shape for name, tensor in layers.state_dict().items()}
    less = False
    for name, tensor in full.state_dict().items():
        if name not in own or len(own[name]) != tensor.dim():
            return False
        pairs = set(zip(own[name], tensor.shape, strict=True)) - exempt
        if not name.startswith(f"{len(full) - 1}.") and any(have > want for have, want in pairs):
            return False
        less |= any(have < want for have, want in pairs)
    return less

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
from ultralytics.nn.tasks import WorldModel, YOLOEModel, guess_model_task, parse_model

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
    layers = description.get("backbone") if isinstance(description, dict) else None
    return bool(layers) and str(layers[0][2]).startswith(OPENING)


def mark_pruned(model: nn.Module) -> None:
    """Give a model that was pruned its own copy of its description, with the sentence in it.

    A model without a description, which stock training cannot build anyway, is left alone.
    """
    description = getattr(model, "yaml", None)
    if not isinstance(description, dict) or not description.get("backbone"):
        return
    sentence = unpruning_sentence(getattr(model, "task", None) or guess_model_task(model) or "detect")
    model.yaml = copy.deepcopy(description)
    first = list(model.yaml["backbone"][0])
    first[2] = sentence
    model.yaml["backbone"][0] = first
    if isinstance(model, (WorldModel, YOLOEModel)) and "yaml_file" in description:
        # Their trainers build from the file that the description names. Its last part stays the model's name.
        model.yaml["yaml_file"] = f"{sentence}/{PurePath(description['yaml_file']).name}"


def mark_if_narrower(model: nn.Module) -> None:
    """Give the sentence to a model that was pruned and does not carry it: version 0.2 wrote such files."""
    if not is_marked(model) and _is_narrower(model):
        mark_pruned(model)


def _is_narrower(model: nn.Module) -> bool:
    """Whether a layer before the head has fewer channels than the model's description gives it.

    Where the layers themselves are others (an old checkpoint whose description means something else by now), the
    description tells nothing.
    """
    description = getattr(model, "yaml", None)
    if not isinstance(description, dict) or not isinstance(getattr(model, "model", None), nn.Sequential):
        return False
    rows = [*description.get("backbone", ()), *description.get("head", ())]
    if any(row[2] == "TorchVision" for row in rows):  # building it might download its weights
        return False
    try:
        with torch.device("meta"):  # shapes without numbers
            built, _ = parse_model(copy.deepcopy(description), ch=description.get("channels", 3), verbose=False)
    except Exception:  # whatever the code of an unusual layer raises
        return False
    full, own = ({name: t.shape for name, t in body[:-1].state_dict().items()} for body in (built, model.model))
    if any(name not in own or len(own[name]) != len(shape) for name, shape in full.items()):
        return False
    pairs = [(have, want) for name, shape in full.items() for have, want in zip(own[name], shape, strict=True)]
    return all(have <= want for have, want in pairs) and any(have < want for have, want in pairs)

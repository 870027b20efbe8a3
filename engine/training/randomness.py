"""What the images of a run depend on besides the data: random states, their order, and what mosaics are drawn from."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from ultralytics.data.build import InfiniteDataLoader


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the generators of Python, numpy and PyTorch, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    states = {
        "python": {"version": version, "internal": torch.tensor(internal, dtype=torch.int64), "gauss": gauss},
        "numpy": {
            "key": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            "pos": int(numpy["state"]["pos"]),
            "has_gauss": int(numpy["has_gauss"]),
            "gauss": float(numpy["gauss"]),
        },
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put back what ``random_states`` returned; of a GPU only where there is one now as there was then."""
    python, numpy = states["python"], states["numpy"]
    random.setstate((python["version"], tuple(python["internal"].tolist()), python["gauss"]))
    np.random.set_state(
        ("MT19937", numpy["key"].numpy().astype(np.uint32), numpy["pos"], numpy["has_gauss"], numpy["gauss"])
    )
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


class Orders:
    """Draws one order of the images after another for a loader that never ends, as Ultralytics' own sampler does.

    It remembers from which state of the loader's generator each was drawn. The state after an epoch would not do: a
    sampler may draw once more when it is asked beyond its end, and where worker processes fetch ahead, the order of the
    next epoch, or of several, is drawn before this one ends.
    """

    def __init__(self, loader: InfiniteDataLoader) -> None:
        """Take the place of a loader's sampler."""
        self.sampler = loader.batch_sampler.sampler
        self._generator = loader.generator
        self._drawn_from: deque[torch.Tensor] = deque()
        self.last_drawn_from: torch.Tensor | None = None
        "The generator's state that the order of the last whole epoch was drawn from."
        self._before_next: Callable[[], None] | None = None
        object.__setattr__(loader, "batch_sampler", self)  # a DataLoader refuses the plain way

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of one order after another; asked once for each iterator of the loader."""
        self._drawn_from.clear()
        while True:
            if self._before_next:
                act, self._before_next = self._before_next, None
                act()
            self._drawn_from.append(self._generator.get_state())
            yield from iter(self.sampler)

    def end_epoch(self) -> None:
        """Note that the images of an epoch have been used up."""
        self.last_drawn_from = self._drawn_from.popleft()

    def draw_after(self, drawn_from: torch.Tensor) -> None:
        """Draw the next order as it would be drawn after one that was drawn from a state."""
        self._generator.set_state(drawn_from)
        for _ in self.sampler:
            pass

    def before_next(self, act: Callable[[], None]) -> None:
        """Have something done right before the next order is drawn."""
        self._before_next = act


def orders_of(loader: DataLoader) -> Orders:
    """Return what draws the orders of a loader that was given to ``Orders``."""
    orders = loader.batch_sampler
    assert isinstance(orders, Orders)
    return orders


def loader_state(loader: DataLoader) -> dict[str, Any]:
    """Return what the next epoch's images depend on, of a loader whose orders ``Orders`` draws, between two epochs."""
    dataset: Any = loader.dataset
    return {
        "generator": loader.generator.get_state(),
        "order": orders_of(loader).last_drawn_from,
        "buffer": [int(index) for index in getattr(dataset, "buffer", ())],
        "images": len(dataset),
        "augmenters": [_generator_state(generator) for generator in _generators(getattr(dataset, "transforms", None))],
    }


def set_loader_state(loader: DataLoader, state: dict[str, Any], *, begins_anew: bool) -> None:
    """Let a loader that was not iterated over yet go on as the one that a state was taken of.

    Args:
        loader: Its orders are drawn by ``Orders``.
        state: As ``loader_state`` returned it.
        begins_anew: Whether the other one would have begun a new iterator here as well, which draws a number of its
            own from the generator and throws away what had been fetched ahead.
    """
    dataset: Any = loader.dataset
    if state["images"] != len(dataset):
        return  # the data are others now: no order and no buffer fits
    loader.generator.set_state(state["generator"])
    if state["buffer"]:
        _fill_buffer(dataset, state["buffer"])
    if begins_anew or state["order"] is None:
        return

    orders = orders_of(loader)

    def act() -> None:
        orders.draw_after(state["order"])
        generators = _generators(getattr(dataset, "transforms", None))
        if len(generators) == len(state["augmenters"]):
            for generator, saved in zip(generators, state["augmenters"], strict=True):
                _set_generator_state(generator, saved)

    orders.before_next(act)


def _fill_buffer(dataset: Any, indices: list[int]) -> None:
    """Load the images that mosaics are drawn from, and list them in their old order."""
    dataset.buffer.clear()
    for index in indices:
        dataset.get_image_and_label(index)
    dataset.buffer[:] = indices


def _generators(transforms: Any) -> list[Any]:
    """Return the random generators that transforms hold themselves, as those of Albumentations do, each once."""
    found, seen, waiting = [], set(), [transforms]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (np.random.Generator, random.Random)):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        elif hasattr(item, "__dict__") and not isinstance(item, (type, torch.utils.data.Dataset)):
            waiting.extend(reversed(vars(item).values()))
    return found


def _generator_state(generator: np.random.Generator | random.Random) -> str:
    if isinstance(generator, random.Random):
        return json.dumps(generator.getstate())
    return json.dumps(generator.bit_generator.state, default=lambda array: array.tolist())


def _set_generator_state(generator: np.random.Generator | random.Random, state: str) -> None:
    values = json.loads(state)
    if isinstance(generator, random.Random):
        version, internal, gauss = values
        generator.setstate((version, tuple(internal), gauss))
    else:
        generator.bit_generator.state = values

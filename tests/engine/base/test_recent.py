"""What an opened checkpoint keeps is bounded, however many settings are tried."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.base.recent import Recent
from engine.pruning.session import Slimming
from engine.pruning.solver import SolverSettings


def test_what_was_not_asked_for_longest_is_dropped():
    kept, made = Recent(2), []
    for key in "abacab":
        assert kept.get(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b", "c", "b"] and len(kept) == 2


def test_what_could_not_be_made_is_not_kept():
    kept = Recent(2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.get("a", lambda: 1 // 0)
    assert len(kept) == 0 and kept.get("a", lambda: 1) == 1


def test_threads_that_ask_at_once_get_the_same_result():
    kept = Recent(3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: kept.get(number % 5, lambda: [number % 5]), range(2000)))
    assert found == [[number % 5] for number in range(2000)] and len(kept) == 3


def test_an_opened_checkpoint_does_not_grow_with_every_setting_that_is_tried(tiny_checkpoint):
    slimming, rankings, curves = Slimming.open(tiny_checkpoint()), [], []
    for number in range(40):
        settings = SolverSettings(floor_share=number / 1000)
        rankings.append(weakref.ref(slimming.ranking(settings)))
        curves.append(weakref.ref(slimming.curve([0.5], settings, 64)[0]))
    gc.collect()
    for made in (rankings, curves):
        alive = [reference() is not None for reference in made]
        assert alive == [number >= 40 - sum(alive) for number in range(40)] and 10 < sum(alive) < 30
    assert slimming.ranking(SolverSettings(floor_share=0.039)) is rankings[-1]()

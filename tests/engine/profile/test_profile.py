"""A profile comes back as it was, and whatever of it does not fit together is refused."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import numpy as np
import pytest

from engine.base.arrays import read_arrays, write_arrays
from engine.base.errors import StorageError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.profile.profile import packed, packed_size, unpacked, unpacked_size
from engine.pruning.profiling import make_profile
from tests.models import build, write_checkpoint


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = write_checkpoint(build("yolo11n"), tmp_path_factory.mktemp("profile") / "yolo11n.pt")
    return make_profile(open_checkpoint(path), [320])


def same(first, second) -> bool:
    """Whether two profiles hold the same values."""
    (mine, my_arrays), (other, other_arrays) = packed(first), packed(second)
    return (
        mine == other
        and my_arrays.keys() == other_arrays.keys()
        and all(np.array_equal(array, other_arrays[name], equal_nan=True) for name, array in my_arrays.items())
    )


def test_it_comes_back_from_a_file_in_milliseconds(profile, tmp_path):
    path = tmp_path / "profile.npz"
    write_arrays(path, *packed(profile))
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        read = unpacked(*read_arrays(path, 64 << 20))
        taken.append(time.perf_counter() - began)
    assert same(read, profile)
    assert min(taken) < 0.2


def test_facts_say_what_the_file_says(profile):
    facts = profile.facts
    assert (facts.task, facts.trained_imgsz, facts.stride, facts.end2end, facts.centres) == (
        *("detect", 320, 32),
        *(False, False),
    )
    assert facts.params == sum(profile.parameters.values()) and len(facts.names) == 80
    assert facts.gflops == profile.at(640).operations.gflops and not facts.fitting.pruned
    assert facts.fitting.names == tuple(facts.names.values()) and facts.made == {}


def test_counts_at_a_size_come_back(profile):
    assert unpacked_size(packed_size(profile.at(320))) == profile.at(320)
    with pytest.raises(StorageError):
        unpacked_size({"imgsz": "large"})


def test_a_profile_without_a_graph_comes_back(profile):
    bare = replace(profile, graph=None, scores={}, untraced="It cannot be followed.")
    assert same(unpacked(*packed(bare)), bare)


def broken(document, arrays, kind):
    """Return a packed profile in which one thing does not fit."""
    document, arrays = copy.deepcopy(document), dict(arrays)
    graph = document["graph"]
    changes = {
        "version": lambda: document.update(version=0),
        "digest": lambda: document["facts"].update(digest="../../etc/passwd"),
        "unknown key": lambda: document.update(more=1),
        "long name": lambda: document["facts"]["names"].update({"0": "x" * 100_000}),
        "no number": lambda: document["facts"].update(params="many"),
        "negative": lambda: document["parameters"].update({"model.0.conv.weight": -1}),
        "huge": lambda: graph.update(group_count=10**12),
        "axis beyond": lambda: graph["tensor_axes"].update({"model.0.conv.weight": [10**6]}),
        "layer missing": lambda: graph["layers"].pop(),
        "gamma missing": lambda: document["gammas"].pop(),
        "score missing": lambda: arrays.pop("scores l1"),
        "group beyond": lambda: arrays.update(axes=arrays["axes"] + 10**6),
        "group negative": lambda: arrays.update(layers=arrays["layers"] - 10**6),
        "other dtype": lambda: arrays.update(layers=arrays["layers"].astype(float)),
        "lengths": lambda: arrays.update({"axes lengths": arrays["axes lengths"] * 2}),
        "negative lengths": lambda: arrays.update({"gammas lengths": -arrays["gammas lengths"]}),
        "residual": lambda: arrays.update(residual=arrays["residual"][1:]),
        "negative score": lambda: arrays.update({"scores gamma": -arrays["scores gamma"]}),
        "no document": lambda: None,
    }
    changes[kind]()
    return ([] if kind == "no document" else document), arrays


KINDS = (
    "version|digest|unknown key|long name|no number|negative|huge|axis beyond|layer missing|gamma missing|no document|"
    "score missing|group beyond|group negative|other dtype|lengths|negative lengths|residual|negative score"
).split("|")


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_together_is_refused(kind, profile):
    with pytest.raises(StorageError, match="is damaged; open it again"):
        unpacked(*broken(*packed(profile), kind))

"""The repository root comes first on sys.path; importing the engine then prepares the environment of Ultralytics."""

import gc
import os
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if entry != str(ROOT))]

import hypothesis
import pytest

import engine  # noqa: F401
from tests.models import build, shared_checkpoint_path, write_checkpoint

# A busy machine makes single examples slow, which says nothing about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with the most slow tests first, so that processes that share the files end together."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """What is imported by now stays: Ultralytics collects garbage in every epoch, and need not look through it."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, whichever tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def tiny_model():
    """Return a function that builds a seeded model by the name of its YAML file, ``yolov8n`` unless told."""
    return build


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> str:
    """The description of a drawn data set of 8 and 4 images; tests leave it as it is."""
    from tests.runs import tiny_data

    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def dense(tmp_path_factory) -> Path:
    """A checkpoint of a seeded short detector that knows the classes of ``data``; tests leave it as it is."""
    from tests.runs import write_dense

    return write_dense(tmp_path_factory.mktemp("model") / "dense.pt")


@pytest.fixture(scope="session")
def pruned(dense, tmp_path_factory) -> Path:
    """``dense`` pruned by half; tests leave it as it is."""
    from engine.pruning.session import Slimming

    return Slimming.open(dense).prune(0.5, tmp_path_factory.mktemp("model") / "pruned.pt")


@pytest.fixture(scope="session")
def warm():
    """A process that has imported the engine and forks: for tests of what a command does, not of how it starts."""
    from tests.warm import Warm

    started = Warm(ROOT)
    yield started
    started.end()


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory) -> Path:
    """The folder of the demo's data set; drawing it takes seconds, so processes side by side share it."""
    from engine.demo.dataset import make_demo_dataset

    folder = tmp_path_factory.getbasetemp()
    return make_demo_dataset((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "demo-set").parent


@pytest.fixture
def tiny_checkpoint(tmp_path):
    """Return a function that writes an ordinary checkpoint of a seeded model and returns its path."""

    def write(name: str = "yolov8n", **content):
        return write_checkpoint(build(name), tmp_path / f"{name}.pt", **content)

    return write


@pytest.fixture
def shared_checkpoint():
    """Return a function that returns the path of a really trained checkpoint, or skips the test without it."""

    def find(name: str) -> Path:
        path = shared_checkpoint_path(name)
        if path is None:
            pytest.skip(f"the trained checkpoint {name} is not on this machine")
        return path

    return find

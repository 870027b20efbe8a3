"""The repository root comes first on sys.path; importing the engine then prepares the environment of Ultralytics."""

import sys
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


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, whichever tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def tiny_model():
    """Return a function that builds a seeded model by the name of its YAML file, ``yolov8n`` unless told."""
    return build


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

"""A profile says what an opened model says, to the last digit, without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.base.arrays import read_arrays, write_arrays
from engine.base.errors import CheckpointError, PlanError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.latency.layers import convolutions
from engine.profile.profile import Profile, packed, unpacked
from engine.pruning.criteria import CRITERIA, ImportanceSettings
from engine.pruning.planning import ProfilePlanner
from engine.pruning.profiling import count_file, make_profile, profile_of_file
from engine.pruning.session import Slimming
from engine.pruning.solver import Budget, SolverSettings
from tests.models import build, make, write_checkpoint

MODELS = ["yolov8n", "yolo11n"]
MORE = [
    "yolo26n",
    "yolov10n",
    "yolov9t",
    "yolo11n-seg",
    "yolo11n-pose",
    "yolov8n-obb",
    "yolo11n-cls",
    "rtdetr-resnet50",
]
SETTINGS = [
    SolverSettings(),
    SolverSettings(scope="uniform", round_to=8, floor_share=0.1),
    SolverSettings(protect_residual=True, floor=8),
]
SCORES = [
    *(ImportanceSettings(criterion) for criterion in ("gamma", "gamma-next", "l1", "fpgm", "lamp")),
    ImportanceSettings("random", seed=3),
    ImportanceSettings("gamma", aggregate="max", per_layer=True, per_flop=True),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return a function: name of a model -> its checkpoint, written once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def path(name: str) -> Path:
        made = folder / f"{name}.pt"
        return made if made.exists() else write_checkpoint(build(name) if name in MODELS else make(name), made)

    return path


def kept(profile: Profile, path: Path) -> Profile:
    """Return a profile as it comes back from a file."""
    write_arrays(path, *packed(profile))
    return unpacked(*read_arrays(path, 64 << 20))


@pytest.mark.parametrize("name", [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_profile_previews_what_the_opened_model_previews(name, checkpoints, tmp_path):
    checkpoint = open_checkpoint(checkpoints(name))
    opened = Slimming(checkpoint)
    profiled = ProfilePlanner(kept(make_profile(checkpoint), tmp_path / "profile.npz"))
    whole = opened.cost_model(640).before
    assert profiled.cost_model(640).before == whole
    for settings in SETTINGS:
        for importance in SCORES:
            for target in (0.0, 0.3, 0.62, Budget(params=whole.params // 2), Budget(gflops=whole.gflops * 0.7)):
                asked = (target, settings, 640, importance)
                mine, theirs = profiled.plan(*asked), opened.plan(*asked)
                np.testing.assert_array_equal(mine.keep, theirs.keep)
                assert profiled.describe(mine) == opened.describe(theirs)
            assert profiled.curve((0.1, 0.5, 0.9), settings, 640, importance) == opened.curve(
                (0.1, 0.5, 0.9), settings, 640, importance
            )
    assert convolutions(profiled.graph, profiled.convolutions(640)) == convolutions(
        opened.graph, opened.convolutions(640)
    )


def test_every_criterion_that_needs_no_images_is_in_the_profile(checkpoints):
    profile = make_profile(open_checkpoint(checkpoints("yolov8n")))
    with_images = {name for name in CRITERIA if name not in profile.scores and name != "random"}
    assert with_images == {"fisher", "taylor", "taylor-activation"}
    with pytest.raises(PlanError, match="looks at images"):
        ProfilePlanner(profile).plan(0.5, importance=ImportanceSettings("taylor"))


def test_another_image_size_is_counted_when_it_is_asked_for(checkpoints):
    path = checkpoints("yolov8n")
    opened, asked = Slimming.open(path), []

    def count(imgsz):
        asked.append(imgsz)
        return count_file(path, imgsz)

    profiled = ProfilePlanner(make_profile(opened.checkpoint), count)
    for size in ((384, 640), 320, (384, 640)):
        assert profiled.preview(0.4, imgsz=size) == opened.preview(0.4, imgsz=size)
    assert asked == [(384, 640), 320]
    assert [counts.imgsz for counts in profiled.profile.sizes] == [640, (384, 640), 320]
    with pytest.raises(PlanError, match="is not a positive multiple of 32"):
        profiled.cost_model(333)


def test_a_file_is_profiled_in_a_child_without_pytorch_here(checkpoints):
    """The process that asks plans and previews without having imported PyTorch."""
    path = checkpoints("yolov8n")
    script = (
        "import sys, json, pathlib\n"
        "from engine.pruning.profiling import profile_of_file\n"
        "from engine.pruning.planning import ProfilePlanner\n"
        f"planner = ProfilePlanner(profile_of_file(pathlib.Path({str(path)!r})))\n"
        "preview = planner.preview(0.5)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules} & {'torch', 'ultralytics', 'onnx', 'thop'}\n"
        "print(json.dumps([preview.params, preview.gflops, sorted(loaded), planner.facts.digest]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    opened = Slimming.open(path)
    expected = opened.preview(0.5)
    assert json.loads(done.stdout) == [expected.params, expected.gflops, [], opened.checkpoint.digest]


def test_what_is_no_checkpoint_is_told_as_it_is_without_a_child(tmp_path):
    path = tmp_path / "no.pt"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(CheckpointError) as here:
        open_checkpoint(path)
    with pytest.raises(CheckpointError) as there:
        profile_of_file(path)
    assert str(there.value) == str(here.value)


def test_a_model_that_cannot_be_traced_has_a_profile_that_says_why(checkpoints, monkeypatch):
    import engine.pruning.graph

    def untraceable(model):
        raise PlanError("It cannot be followed.")

    monkeypatch.setattr(engine.pruning.graph, "trace", untraceable)
    profile = make_profile(open_checkpoint(checkpoints("yolov8n")))
    assert profile.facts.params > 3_000_000 and profile.graph is None
    with pytest.raises(PlanError, match="It cannot be followed"):
        ProfilePlanner(profile)

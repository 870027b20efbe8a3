"""How far a penalty can pull a gamma: the schedule that the forecast assumes is the one that Ultralytics runs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import check_dataset, resolved_yaml
from engine.training import TRAINERS, TrainSettings
from engine.training.sparsity import METHODS, SparsitySettings, TrainingLength, reach, strength_to_reach
from engine.training.sparsity.reach import MARGIN, learning_rates
from tests.runs import tiny_data, write_dense

lengths = st.builds(
    TrainingLength,
    images=st.integers(1, 3000),
    epochs=st.integers(1, 60),
    batch=st.integers(1, 64),
    nbs=st.integers(1, 128),
    lr0=st.floats(1e-5, 0.1),
    cos_lr=st.booleans(),
)


@pytest.mark.parametrize(("epochs", "nbs", "cos_lr"), [(4, 4, False), (12, 16, True), (3, 64, False)])
def test_steps_and_rates_are_those_of_a_real_run(tmp_path, epochs, nbs, cos_lr):
    data = check_dataset(tiny_data(tmp_path))
    settings = TrainSettings(
        weights=str(write_dense(tmp_path / "dense.pt")),
        data=resolved_yaml(data, tmp_path),
        save_dir=tmp_path / "run",
        epochs=epochs,
        imgsz=32,
        batch=2,
        nbs=nbs,
        cos_lr=cos_lr,
        extra={"val": False, "save": False},
    )
    trainer = TRAINERS["detect"](overrides=settings.overrides())
    seen: list[float] = []

    def watch(trainer) -> None:
        optimizer = trainer.optimizer
        optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.param_groups[1]["lr"]))

    trainer.add_callback("on_train_start", watch)
    trainer.train()
    images = data.images["train"]
    _, rates = learning_rates(TrainingLength(images, epochs, batch=2, nbs=nbs, cos_lr=cos_lr))
    assert len(rates) == len(seen)
    assert rates == pytest.approx(np.array(seen), abs=1e-9)


def test_the_reach_is_how_far_a_gamma_falls_that_nothing_holds_up():
    length = TrainingLength(images=64, epochs=20, batch=8, nbs=8, lr0=0.01)
    for method in ("proximal", "classic"):
        settings = SparsitySettings(method, strength=0.1, schedule="linear", warmup=0.2)
        gamma = torch.nn.Parameter(torch.tensor([100.0]))
        optimizer = torch.optim.SGD([gamma], lr=0.01, momentum=0.937, nesterov=True)
        for progress, rate in zip(*learning_rates(length), strict=True):
            strength = settings.strength_at(float(progress))
            optimizer.param_groups[0]["lr"] = float(rate)
            gamma.grad = torch.tensor([strength if method == "classic" else 0.0])
            optimizer.step()
            if method == "proximal":
                gamma.data -= float(rate) * strength
        assert 100 - float(gamma.detach()) == pytest.approx(reach(settings, length).distance, rel=1e-3)


@given(lengths, st.sampled_from(["proximal", "classic"]), st.floats(0.1, 3.0))
def test_the_strength_offered_reaches_as_far_as_it_says(length, method, distance):
    settings = SparsitySettings(method)
    strength = strength_to_reach(distance, settings, length)
    if reach(settings, length).distance == 0:
        assert strength is None
        return
    assert reach(SparsitySettings(method, strength=strength), length).distance == pytest.approx(MARGIN * distance)


@given(lengths, st.sampled_from(METHODS))
def test_a_stronger_penalty_reaches_at_least_as_far_and_steps_never_exceed_batches(length, method):
    weak, strong = (reach(SparsitySettings(method, strength=s), length) for s in (0.01, 0.1))
    assert strong.distance >= weak.distance
    assert weak.steps <= length.batches * length.epochs


@given(st.floats(0.0, 0.5), st.floats(0.0, 1.0), st.sampled_from(["constant", "linear", "cosine"]))
def test_a_warm_up_never_adds_strength_and_ends_where_it_says(warmup, progress, schedule):
    cold = SparsitySettings("proximal", schedule=schedule)
    warm = SparsitySettings("proximal", schedule=schedule, warmup=warmup)
    assert 0 <= warm.strength_at(progress) <= cold.strength_at(progress)
    if progress >= warmup:
        assert warm.strength_at(progress) == cold.strength_at(progress)


def test_an_adaptive_optimizer_is_said_to_be_uncertain_and_targeted_always_arrives():
    length = TrainingLength(images=100, epochs=5, optimizer="AdamW")
    assert not reach(SparsitySettings("classic"), length).certain
    assert strength_to_reach(1.0, SparsitySettings("classic"), length) is None
    assert reach(SparsitySettings("targeted"), length).distance == float("inf")

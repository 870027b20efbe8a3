"""Two real processes on the CPU (gloo) train as one does: sparsity, pruned shape, stop, errors."""

import json

import pytest
import torch
from torch import distributed
from ultralytics.nn.tasks import DetectionModel

from engine.base.errors import StopRequested, TrainingError, WorkbenchError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.profile.gammas import summarise_gammas
from engine.pruning.gammas import collect_gammas
from engine.pruning.graph import ChannelGraph, trace
from engine.pruning.session import Slimming
from engine.pruning.solver import Budget
from engine.training import TrainSettings
from engine.training.sparsity import Sparsifier, SparsitySettings
from engine.verbs import run_verb
from tests.runs import spec
from tests.short import short


def agreement(rank: int, address: str, graph: ChannelGraph, results) -> None:
    """Ask two sparsifiers in two processes whether they agree, before and after one of them changes a gamma."""
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = DetectionModel(short("detect"), nc=3, verbose=False)
    sparsifier = Sparsifier(model, graph, SparsitySettings())
    agreed = sparsifier.agrees()
    if rank == 1:
        next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)).weight.data[0] += 1e-6
    results.put((agreed, sparsifier.agrees()))
    distributed.barrier()  # a process that leaves while the other still listens can take it along
    distributed.destroy_process_group()


def test_processes_whose_gammas_differ_are_found_out(tmp_path):
    graph = trace(DetectionModel(short("detect"), nc=3, verbose=False))
    results = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(agreement, (f"file://{tmp_path / 'meeting'}", graph, results), nprocs=2)
    assert [results.get(), results.get()] == [(True, False), (True, False)]


def zero_share(path: str) -> float:
    return summarise_gammas(collect_gammas(open_checkpoint(path).model)).zero


@pytest.mark.slow
def test_two_processes_reach_the_sparsity_of_one(dense, data, tmp_path):
    events: list = []
    wanted = {"epochs": 4, "prune_ratio": 0.4}
    two = run_verb("sparsify", spec(dense, data, tmp_path / "two", processes=2, **wanted), events.append)
    one = run_verb("sparsify", spec(dense, data, tmp_path / "one", **wanted))
    assert abs(zero_share(two["last"]) - zero_share(one["last"])) <= 0.02
    assert [event["epoch"] for event in events if event["kind"] == "epoch"] == [1, 2, 3, 4]
    assert {"mAP50", "mAP50-95"} <= set(two["metrics"]) and two["params"] == one["params"]
    assert not (tmp_path / "two" / "distributed.json").exists()


@pytest.mark.slow
def test_two_processes_keep_a_pruned_shape_and_stop_together(dense, data, tmp_path):
    pruned = Slimming.open(dense).prune(0.5, tmp_path / "pruned.pt")

    def report(event):
        if event["kind"] == "step" and event["epoch"] == 3:
            raise StopRequested

    wanted = spec(pruned, data, tmp_path / "run", processes=2, epochs=30)
    result = run_verb("finetune", wanted, report)
    assert result["stopped"] and result["epochs_done"] in (2, 3), "3 where the step was the last of its epoch"
    assert open_checkpoint(result["last"]).params == open_checkpoint(pruned).params == result["params"]
    again: list = []

    def stop_at_once(event):
        again.append(event)
        if event["kind"] == "epoch":
            raise StopRequested

    resumed = run_verb("finetune", wanted | {"resume": True}, stop_at_once)
    epochs = [event["epoch"] for event in again if event["kind"] == "epoch"]
    assert epochs == [result["epochs_done"] + 1] and resumed["epochs_done"] == epochs[0]


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_with_its_sentence(dense, data, tmp_path):
    wanted = spec(dense, data, tmp_path / "run", processes=2, prune_ratio=None, max_params=10)
    with pytest.raises(WorkbenchError, match="smallest model"):
        run_verb("sparsify", wanted)


def test_settings_survive_the_way_to_another_process(tmp_path):
    settings = TrainSettings(
        weights="model.pt",
        data=tmp_path / "data.yaml",
        save_dir=tmp_path,
        epochs=3,
        imgsz=64,
        sparsity=SparsitySettings(budget=Budget(params=1000, gflops=1.5), warmup=0.1),
        teacher="dense.pt",
        processes=2,
    )
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


def test_a_batch_that_cannot_be_shared_evenly_and_devices_that_are_not_there_are_refused(dense, data, tmp_path):
    with pytest.raises(TrainingError, match="shared evenly by 2"):
        run_verb("train", spec(dense, data, tmp_path / "run", processes=2, batch=3))
    missing = f"0,{torch.cuda.device_count()}"
    with pytest.raises(TrainingError, match="not available"):
        run_verb("train", spec(dense, data, tmp_path / "run", device=missing))

"""Experiment trackers: off by default, on for the run that names them; gammas and sparsity are among what they hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ultralytics.utils import SETTINGS

from engine import recipes
from engine.base.errors import TrainingError
from engine.settings.command import command_of
from engine.settings.parser import read_terminal
from engine.settings.verb_facts import TRACKERS
from engine.training import TrainSettings, trackers
from engine.training.trackers import GammaRecord, check_trackers, tracked, tracker_of
from tests.runs import tiny_data, write_dense

ROOT = Path(__file__).resolve().parents[3]
TINY = "--epochs 2 --imgsz 64 --batch 4 --nbs 4 --device cpu --workers 0".split()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("inputs")
    return ["--weights", str(write_dense(folder / "dense.pt")), "--data", tiny_data(folder)]


def engine(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the terminal in a process that does not know of pytest, where Ultralytics tracks nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    command = [sys.executable, "-m", "engine", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**kept, **environment})


def tensorboard_records(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    records.Reload()
    return records


def test_tensorboard_and_a_file_based_mlflow_hold_metrics_gammas_and_sparsity_of_a_sparse_run(
    inputs, tmp_path, monkeypatch, warm
):
    pytest.importorskip("tensorboard")
    mlflow = pytest.importorskip("mlflow")
    run = tmp_path / "run"
    asked = ["--method", "proximal", "--sr", "50", "--tracker", "tensorboard", "--tracker", "mlflow"]
    done = warm.run("-m", "engine", "sparsify", *inputs, *TINY, *asked, "--save-dir", str(run), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["epochs_done"] == 2, "nothing but the result stands on standard output"

    records = tensorboard_records(run)
    zero = records.Scalars("sparsity/gammas_at_zero")
    assert [each.step for each in zero] == [1, 2] and zero[-1].value > 0.5
    assert records.Scalars("sparsity/penalty_strength")[-1].value == pytest.approx(50)
    assert len(records.Histograms("sparsity/gammas")) == 2
    assert {"metrics/mAP50(B)", "train/box_loss", "sparsity/gamma_median"} <= set(records.Tags()["scalars"])

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(run / "mlflow").as_uri())
    (found,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["sparsity/gammas_at_zero"] == pytest.approx(zero[-1].value)
    assert len(client.get_metric_history(found.info.run_id, "sparsity/gamma_median")) == 2
    assert {"metrics/mAP50B", "train/box_loss"} <= set(found.data.metrics)


def test_nothing_is_recorded_unless_a_run_names_it_even_where_the_person_has_it_on(inputs, tmp_path):
    settings = tmp_path / "config" / "Ultralytics" / "settings.json"
    settings.parent.mkdir(parents=True)
    person = {"settings_version": "0.0.8", "tensorboard": True, "mlflow": True}
    settings.write_text(json.dumps(person))
    done = engine(
        "train",
        *inputs,
        *TINY,
        "--epochs",
        "1",
        "--save-dir",
        str(tmp_path / "run"),
        YOLO_CONFIG_DIR=str(tmp_path / "config"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list((tmp_path / "run").glob("events.out*")) and not (tmp_path / "run" / "mlflow").exists()


def test_several_processes_keep_one_record(inputs, tmp_path, warm):
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    asked = ["--processes", "2", "--epochs", "1", "--tracker", "tensorboard"]
    done = warm.run("-m", "engine", "train", *inputs, *TINY, *asked, "--save-dir", run)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(run.glob("events.out*"))) == 1
    assert [each.step for each in tensorboard_records(run).Scalars("sparsity/gamma_median")] == [1]


def test_a_tracker_whose_server_is_not_there_costs_its_records_and_no_training(inputs, tmp_path, warm):
    pytest.importorskip("mlflow")
    run = tmp_path / "run"
    asked = ["--epochs", "1", "--tracker", "mlflow", "--save-dir", str(run)]
    done = warm.run("-m", "engine", "train", *inputs, *TINY, *asked, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (run / "weights" / "best.pt").exists() and not (run / "mlflow").exists()


def test_a_tracker_that_raises_is_left_out_and_said(inputs, tmp_path, monkeypatch):
    from engine.verbs import run_verb
    from tests.runs import spec

    told = []

    def fails(trainer, scalars, values):
        raise ConnectionError("no such host")

    monkeypatch.setitem(trackers._LOGGERS, "tensorboard", fails)
    asked = spec(Path(inputs[1]), inputs[3], tmp_path / "run", epochs=2, tracker=["tensorboard"])
    run_verb("train", asked, told.append)
    said = [event["text"] for event in told if "tensorboard" in event.get("text", "")]
    assert said == ["The tracker tensorboard failed and records no more: ConnectionError: no such host"]


def test_what_is_recorded_of_gammas_is_what_they_are():
    values = np.concatenate([np.zeros(10), np.full(10, 0.005), np.linspace(0.02, 1.0, 80)])
    told = GammaRecord(values, strength=0.25).scalars()
    assert told["sparsity/gammas_at_zero"] == 0.1 and told["sparsity/gammas_below_1e-2"] == 0.2
    assert told["sparsity/gamma_p10"] < 0.01 < told["sparsity/gamma_median"] < 0.5 < told["sparsity/gamma_p90"] < 1
    assert told["sparsity/penalty_strength"] == 0.25
    assert "sparsity/penalty_strength" not in GammaRecord(values).scalars(), "the targeted method has none"


def test_only_the_named_ones_are_on_and_only_inside(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(SETTINGS)
    with tracked(("mlflow",), tmp_path):
        assert [name for name in TRACKERS if SETTINGS[name]] == ["mlflow"]
        assert os.environ["MLFLOW_TRACKING_URI"] == (tmp_path / "mlflow").as_uri()
    assert dict(SETTINGS) == before and "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.invalid")
    with tracked(("mlflow",), tmp_path):
        assert os.environ["MLFLOW_TRACKING_URI"] == "http://example.invalid"


def test_every_integration_of_this_ultralytics_is_offered_and_its_callbacks_are_known():
    from importlib import import_module

    import ultralytics.utils.callbacks as package

    present = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {
        "__init__",
        "base",
        "platform",
        "raytune",
    }
    assert {"wandb" if name == "wb" else name for name in present} == set(TRACKERS)
    assert tracker_of(import_module("ultralytics.utils.callbacks.wb").on_fit_epoch_end) == "wandb"
    assert tracker_of(import_module("ultralytics.utils.callbacks.base").on_train_end) is None
    assert tracker_of(print) is None


def test_a_tracker_that_is_not_installed_is_one_sentence_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="The tracker comet needs the package comet_ml: pip install comet_ml"):
        check_trackers(["comet"])
    with pytest.raises(TrainingError, match="tracker is 'neptune'; it must be one of tensorboard, mlflow"):
        TrainSettings("a.pt", tmp_path, tmp_path, 1, 64, tracker=("neptune",))


def test_they_are_an_option_a_setting_of_recipes_and_part_of_the_printed_command(tmp_path):
    words = ["train", "--weights", "a.pt", "--data", "d.yaml", "--tracker", "tensorboard", "--tracker", "mlflow"]
    assert read_terminal(words)["tracker"] == ["tensorboard", "mlflow"]
    command = command_of("train", {"weights": "a.pt", "data": "d.yaml", "tracker": ["tensorboard"]})
    assert command.endswith("--tracker=tensorboard")
    path = tmp_path / "r.yaml"
    path.write_text("steps: [{train: {tracker: [tensorboard]}}]")
    assert recipes.load_recipe(path).steps[0].settings == {"tracker": ["tensorboard"]}

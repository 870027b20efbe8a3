import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.base import runtime
from engine.base.errors import CheckpointError
from engine.checkpoints.official import fetch_official_weights, is_official_name

ROOT = Path(__file__).resolve().parents[3]

# Python reports every name lookup, connection and child process to an audit hook, whichever library made it.
RECORDER = """
import atexit, json, os, sys
seen = []
def record(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        seen.append([event, repr(arguments[:2])])
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        seen.append([event, repr(arguments[1])])
    elif event == "subprocess.Popen" and any(tool in repr(arguments[:2]) for tool in ("pip", "curl", "wget")):
        seen.append([event, repr(arguments[:2])])
sys.addaudithook(record)
# Written after Ultralytics' background threads, which the interpreter joins first.
atexit.register(lambda: open(os.environ["RECORD"], "w").write(json.dumps(seen)))
"""

WHOLE_JOB = """
import sys
from engine.base.runtime import import_ultralytics
weights, ascii_data, other_data, image, folder = sys.argv[1:]
YOLO = import_ultralytics().YOLO
model = YOLO(weights)
model.train(data=ascii_data, epochs=1, imgsz=64, batch=2, workers=0, device="cpu", project=folder, name="train")
model = YOLO(folder + "/train/weights/best.pt")
model.val(data=other_data, imgsz=64, batch=2, workers=0, device="cpu", project=folder, name="val")
model.predict(source=image, imgsz=64, device="cpu", project=folder, name="predict", save=True)
print("exported", model.export(format="onnx", imgsz=64, device="cpu"))
"""


def _clean_environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a person who has set nothing and whose home is empty."""
    ours = ("YOLO_", "ULTRALYTICS_", "OMP_", "PYTEST_", "XDG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "LOCALAPPDATA": str(folder / "cache")}
    return {**environment, **home, "PYTHONPATH": str(ROOT), "RECORD": str(folder / "record.json"), **variables}


def _run(folder: Path, program: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """Run a program in a fresh interpreter, in an empty working folder."""
    working = folder / "working"
    working.mkdir(exist_ok=True)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = _clean_environment(folder, **variables)
    return subprocess.run(
        command, cwd=working, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )


def _recorded(folder: Path) -> list:
    return json.loads((folder / "record.json").read_text())


def _draw_dataset(folder: Path, class_name: str) -> Path:
    """Draw four images with one bright square each, all of them for training and validation."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for index in range(4):
        image = np.full((64, 64, 3), 40, np.uint8)
        cv2.rectangle(image, (8 + 4 * index, 16), (31 + 4 * index, 39), (200, 220, 90), -1)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), image)
        label = f"0 {(20 + 4 * index) / 64} {28 / 64} {24 / 64} {24 / 64}\n"
        (folder / "labels" / f"{index}.txt").write_text(label)
    description = folder / "data.yaml"
    text = f"path: {folder}\ntrain: images\nval: images\nnames:\n  0: {class_name}\n"
    description.write_text(text, encoding="utf-8")
    return description


def _save_random_yolov8n(path: Path) -> Path:
    runtime.import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=1, verbose=False)
    model.names = {0: "square"}
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}}, path)
    return path


@pytest.mark.slow
def test_a_whole_job_makes_no_name_lookup_and_no_connection(tmp_path):
    weights = _save_random_yolov8n(tmp_path / "start.pt")
    ascii_data = _draw_dataset(tmp_path / "ascii", "square")
    other_data = _draw_dataset(tmp_path / "other", "四角")
    image = tmp_path / "ascii" / "images" / "0.png"
    program = RECORDER + WHOLE_JOB
    finished = _run(tmp_path, program, weights, ascii_data, other_data, image, tmp_path / "results")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "exported" in finished.stdout
    assert (tmp_path / "results" / "train" / "weights" / "best.onnx").is_file()
    assert _recorded(tmp_path) == []
    assert list((tmp_path / "working").iterdir()) == []


def test_the_recorder_sees_the_lookups_that_a_bare_import_makes(tmp_path):
    finished = _run(tmp_path, RECORDER + "import ultralytics")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert any("one.one.one.one" in arguments for _, arguments in _recorded(tmp_path))


def _oldest_python(requires: str | None) -> tuple[int, ...]:
    """Return the version behind ``>=`` in the words of a package's metadata."""
    found = re.search(r">=\s*(\d+)\.(\d+)", requires or "")
    return tuple(map(int, found.groups())) if found else ()


def test_no_requirement_needs_a_newer_python_than_the_project_promises():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    promised = _oldest_python(project["project"]["requires-python"])
    assert promised == runtime.OLDEST_PYTHON
    assert project["tool"]["ruff"]["target-version"] == "py{}{}".format(*promised)
    needed = {
        package: _oldest_python(metadata(package)["Requires-Python"]) for package in ("streamlit", "torch", "onnx")
    }
    assert max(needed.values()) <= promised, needed


@pytest.mark.parametrize("start", ["-m engine --help", "app/Home.py"])
def test_an_older_python_is_refused_in_one_sentence(start, tmp_path):
    old = "import sys; sys.version_info = (3, 10, 12, 'final', 0)\n"
    (tmp_path / "sitecustomize.py").write_text(old)
    command = [sys.executable, *start.split()]
    environment = _clean_environment(tmp_path, PYTHONPATH=str(tmp_path))
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 2
    said = "The workbench needs Python 3.11 or newer, and this is 3.10; start it with a newer one."
    assert finished.stderr == f"error: {said}\n"


@pytest.mark.parametrize("name", ["engine/__init__.py", "engine/__main__.py", "engine/base/runtime.py", "app/Home.py"])
def test_what_runs_before_the_python_is_checked_can_be_read_by_an_older_one(name):
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_importing_the_engine_sets_the_environment_without_torch(tmp_path):
    program = (
        "import json, os, sys, engine; print(json.dumps([dict(os.environ), [m for m in sys.modules "
        "if m in ('torch', 'ultralytics', 'matplotlib', 'streamlit')]]))"
    )
    finished = _run(tmp_path, program, ULTRALYTICS_API_KEY="ul_secret", ULTRALYTICS_SAFE_LOAD="0")
    environment, heavy = json.loads(finished.stdout)
    assert heavy == []
    assert environment["YOLO_OFFLINE"] == "1"
    assert environment["YOLO_AUTOINSTALL"] == "0"
    assert environment["ULTRALYTICS_SAFE_LOAD"] == "1"
    assert environment["OMP_NUM_THREADS"] == str(runtime.available_cores())
    assert "ULTRALYTICS_API_KEY" not in environment
    folder = Path(environment["YOLO_CONFIG_DIR"]) / "Ultralytics"
    assert folder.is_relative_to(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"Arial.ttf", "Arial.Unicode.ttf", "settings.json"}


def test_what_a_person_has_set_is_respected(tmp_path):
    own = tmp_path / "own"
    settings = own / "Ultralytics" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("{}")
    program = (
        "import json, os, engine; n = ['YOLO_OFFLINE', 'OMP_NUM_THREADS', 'YOLO_CONFIG_DIR']; "
        "print(json.dumps([os.environ[name] for name in n]))"
    )
    finished = _run(tmp_path, program, YOLO_OFFLINE="0", OMP_NUM_THREADS="3", YOLO_CONFIG_DIR=str(own))
    assert json.loads(finished.stdout) == ["0", "3", str(own)]
    assert settings.read_text() == "{}"
    assert (own / "Ultralytics" / "Arial.ttf").is_file()


def test_ultralytics_accepts_the_settings_file_as_it_is(tmp_path):
    program = (
        "from engine.base.runtime import import_ultralytics; s = import_ultralytics().settings; "
        "assert not any(s[k] for k in ('sync', 'clearml', 'comet', 'dvc', 'mlflow', 'raytune', 'wandb')); "
        "print(s.file.read_text())"
    )
    finished = _run(tmp_path, program)
    assert finished.returncode == 0, finished.stderr
    assert "updated to the latest schema" not in finished.stdout + finished.stderr
    assert "Creating new Ultralytics Settings" not in finished.stdout + finished.stderr
    assert json.loads(finished.stdout)["sync"] is False


def test_an_unwritable_cache_falls_back_to_a_temporary_folder(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    finished = _run(
        tmp_path, "import os, engine; print(os.environ['YOLO_CONFIG_DIR'])", TMPDIR=str(temporary), TEMP=str(temporary)
    )
    folder = Path(finished.stdout.strip())
    assert folder.is_relative_to(temporary)
    assert (folder / "Ultralytics" / "settings.json").is_file()


def test_preparing_twice_writes_nothing_twice(tmp_path):
    program = (
        "import os, engine; from pathlib import Path; from engine.base.runtime import prepare; "
        "files = sorted((Path(os.environ.pop('YOLO_CONFIG_DIR')) / 'Ultralytics').iterdir()); "
        "before = [f.stat().st_mtime_ns for f in files]; prepare(); "
        "print(before == [f.stat().st_mtime_ns for f in files], len(files))"
    )
    assert _run(tmp_path, program).stdout.split() == ["True", "3"]


def test_worker_environment_makes_the_engine_importable_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = runtime.worker_environment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["YOLO_OFFLINE"] == os.environ["YOLO_OFFLINE"]


def test_logs_go_to_standard_error_and_the_result_to_standard_output(tmp_path):
    program = (
        "import os, subprocess, sys\n"
        "from engine.base.runtime import import_ultralytics, logs_to_stderr\n"
        "logger = import_ultralytics().utils.LOGGER\n"
        "with logs_to_stderr():\n"
        "    logger.info('from the logger'); print('from print'); os.write(1, b'from the descriptor\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"from a child\")'])\n"
        "print('the result'); logger.info('afterwards')\n"
    )
    finished = _run(tmp_path, program)
    assert finished.stdout.splitlines() == ["the result", "afterwards"]
    for source in ("from the logger", "from print", "from the descriptor", "from a child"):
        assert source in finished.stderr


def test_official_names_are_told_from_others():
    assert is_official_name("yolov8s.pt")
    assert is_official_name("yolo11x.pt")
    assert not is_official_name("mine.pt")
    assert not is_official_name("folder/yolov8s.pt")
    assert not is_official_name("yolo26n-reid.onnx")


def test_official_weights_on_disk_are_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "yolov8s.pt").write_bytes(b"weights")
    assert fetch_official_weights("yolov8s.pt", folder) == folder / "yolov8s.pt"


def test_a_name_that_is_not_official_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"mine\.pt does not exist"):
        fetch_official_weights("mine.pt", tmp_path)


@pytest.fixture
def asset_server(tmp_path, monkeypatch):
    """Serve a folder over HTTP in place of Ultralytics' asset host; yields the folder of the release."""
    import inspect
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    runtime.import_ultralytics()
    from ultralytics import utils
    from ultralytics.utils.downloads import attempt_download_asset

    release = inspect.signature(attempt_download_asset).parameters["release"].default
    folder = tmp_path / "served" / release
    folder.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(utils, "ASSETS_URL", f"http://127.0.0.1:{server.server_port}/v0.0.0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    yield folder
    server.shutdown()
    server.server_close()


def test_official_weights_are_downloaded_although_ultralytics_is_told_to_be_offline(asset_server, tmp_path):
    served = _save_random_yolov8n(asset_server / "yolov8s.pt")
    folder = tmp_path / "weights"
    path = fetch_official_weights("yolov8s.pt", folder)
    assert path == folder / "yolov8s.pt"
    assert path.read_bytes() == served.read_bytes()


@pytest.mark.parametrize("served", [None, b"<html>please sign in</html>"])
def test_a_failed_download_is_one_sentence_and_leaves_nothing(asset_server, tmp_path, served):
    if served:
        (asset_server / "yolov8s.pt").write_bytes(served)
    folder = tmp_path / "weights"
    with pytest.raises(CheckpointError, match=r"yolov8s\.pt is an official name but could not be downloaded"):
        fetch_official_weights("yolov8s.pt", folder)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_without_a_connection_the_sentence_says_so(tmp_path, monkeypatch):
    runtime.import_ultralytics()
    from ultralytics import utils

    monkeypatch.setattr(utils, "ASSETS_URL", "http://127.0.0.1:1/v0.0.0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no connection"):
        fetch_official_weights("yolov8s.pt", tmp_path / "weights")

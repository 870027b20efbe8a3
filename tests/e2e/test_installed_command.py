"""``pip install -e .`` for real, into an environment of its own: one command for the verbs and the pages."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import end_server, wait_until_healthy

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("app", "engine", "pages", "demo", ".streamlit", "pyproject.toml", "requirements.txt", "README.md")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is installed."""
    source = tmp_path_factory.mktemp("installed") / "repository"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, source / part)
    return source


@pytest.fixture(scope="module")
def command(source):
    """The installed command; the packages that it needs are those of the test run."""
    folder = source.parent
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    theirs = sysconfig.get_path("purelib")
    Path(packages, "those_of_the_test_run.pth").write_text(theirs)
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = [*pip, "install", "-q", "--no-deps", "--no-build-isolation", "-e", source]
    subprocess.run(install, check=True, env={**os.environ, "PIP_NO_INDEX": "1", "PYTHONPATH": theirs})
    return environment / "bin" / "yolo-slim"


def test_a_wheel_carries_the_templates_and_the_recipes(source, tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(build, check=True, env={**os.environ, "PIP_NO_INDEX": "1"})
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    beside = [path for path in (source / "engine").rglob("*") if path.is_file() and path.suffix != ".py"]
    assert len(beside) >= 6
    assert {path.relative_to(source).as_posix() for path in beside} <= set(wheel.namelist())


def test_the_installed_command_runs_the_verbs(command, tmp_path):
    shown = subprocess.run([command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "usage: yolo-slim" in shown and "prune" in shown and "'yolo-slim app' starts the workbench" in shown
    refused = subprocess.run([command, "prune"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and "see yolo-slim prune --help" in refused.stderr


def test_the_installed_command_serves_the_pages(command, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "server.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [command, "app", "--server.port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "PRUNE_WORKSPACE": str(tmp_path / "workspace")},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
    finally:
        end_server(process)

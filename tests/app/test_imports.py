"""Imports point one way: pages -> app -> engine, and inside the engine from room to room as pyproject.toml says."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchvision", "ultralytics", "onnx", "onnxruntime"}


def lint(folder: Path) -> subprocess.CompletedProcess:
    program = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run([sys.executable, "-c", program, "--no-cache"], cwd=folder, capture_output=True, text=True)


def test_every_contract_is_kept():
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout[-3000:]


@pytest.fixture
def house(tmp_path):
    """A copy of the sources that may be broken."""
    for folder in ("engine", "app"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("engine/pruning/surgery.py", "import app.words.format", "The app stands on the engine"),
        ("engine/base/files.py", "import engine.verbs.common", "Rooms of the engine"),
        ("engine/export/gates.py", "import engine.latency.text", "Rooms of the engine"),
        ("engine/pruning/solver/units.py", "import engine.pruning.solver.plan", "No circles"),
        ("engine/jobs/eta.py", "import streamlit", "Only the app knows the browser"),
        ("app/plan/tables.py", "import torch", "the app imports no PyTorch"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(house, module, line, contract):
    path = house / module
    path.write_text(f"{path.read_text(encoding='utf-8')}\n\ndef _late():\n    {line}\n", encoding="utf-8")
    ended = lint(house)
    broken = [row for row in ended.stdout.splitlines() if row.endswith("BROKEN")]
    assert ended.returncode == 1 and any(contract in row for row in broken), ended.stdout[-3000:]


def test_pages_import_nothing_heavy_and_nobody_imports_pages():
    for path in [path for folder in ("app", "engine", "pages") for path in (ROOT / folder).rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        tops = {name.partition(".")[0] for name in named}
        assert "pages" not in tops, path
        assert path.parent.name != "pages" or not tops & HEAVY, path


def test_the_engine_runs_without_streamlit():
    program = (
        "import importlib, pkgutil, sys, engine\n"
        "for module in pkgutil.walk_packages(engine.__path__, 'engine.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "assert 'streamlit' not in sys.modules\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]

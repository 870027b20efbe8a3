"""What docs/extending.md says is what happens: its files, word for word, in a copy of the sources."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.warm import Warm

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
OPTION = {
    # label of the block -> (file, line that it is put below)
    "option": ("engine/settings/training.py", "    patience: Patience = 100\n"),
    "field": (
        "engine/training/settings.py",
        '    "Epochs without improvement after which training ends early; 0 for never."\n',
    ),
    "argument": ("engine/training/settings.py", '            "patience": self.patience,\n'),
}
MENU_PLACE = '        ("jobs", "Jobs", ":material/list_alt:"),\n'
WEIGHTS = "demo/yolov8n-harbour-sparse.pt"

BATCHES = """
import numpy as np, torch
from engine import ImportanceSettings, group_scores
from engine.checkpoints.checkpoint import open_checkpoint
from engine.pruning.graph import trace
model = open_checkpoint("demo/yolov8n-harbour-sparse.pt").model
graph, settings = trace(model), ImportanceSettings(criterion="snip")
noise = torch.Generator().manual_seed(0)
labels = {"cls": torch.zeros(2, 1), "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.3]])}
batch = {"img": torch.rand(2, 3, 64, 64, generator=noise), "batch_idx": torch.tensor([0.0, 1.0]), **labels}
"""
PAGES = """
from pathlib import Path
from streamlit.testing.v1 import AppTest
from engine.demo.shipped import SPARSE
from engine.workspace.store import Store
model = Store("workspace").add_model(SPARSE, "Demo", "demo")
app = AppTest.from_file("app/frame/frame.py", default_timeout=300)
app.session_state["model_id"] = model.id
app.run()
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The sources with everything that the page adds."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("engine", "app", "pages", "demo", ".streamlit"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES.items():
        assert not (folder / name).exists()
        (folder / name).write_text(content, encoding="utf-8")
    put_below(folder / "app" / "frame" / "frame.py", MENU_PLACE, block("menu"))
    for label, (name, line) in OPTION.items():
        put_below(folder / name, line, block(label))
    return folder


def block(label: str) -> str:
    """Return the lines of the page that such a label stands above."""
    (lines,) = re.findall(rf"^```{label}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    return lines


def put_below(file: Path, line: str, lines: str) -> None:
    source = file.read_text(encoding="utf-8")
    assert source.count(line) == 1
    file.write_text(source.replace(line, line + lines), encoding="utf-8")


@pytest.fixture(scope="module")
def warm(copy):
    started = Warm(copy, PRUNE_WORKSPACE=str(copy / "workspace"))
    yield started
    started.end()


@pytest.fixture
def run(warm):
    """Return a function that runs Python in the copy and returns what it printed."""

    def call(*arguments: str, code: int = 0) -> str:
        done = warm.run(*arguments)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout + done.stderr if code else done.stdout

    return call


def test_every_example_is_short_and_whole():
    assert set(FILES) == {
        "engine/pruning/criteria/gamma_beta.py",
        "engine/pruning/criteria/snip.py",
        "engine/runtimes/formats/frozen.py",
        "pages/widths.py",
    }
    assert all(len(content.splitlines()) < 30 for content in FILES.values())
    assert len("".join(map(block, OPTION)).splitlines()) < 30


def test_a_criterion_is_found_on_the_terminal_and_scores_otherwise(run):
    asked = ("-m", "engine", "preview", "--weights", WEIGHTS, "--prune-ratio", "0.3", "--json", "--criterion")
    assert "gamma-beta" in run("-m", "engine", "preview", "--help")
    assert run(*asked, "gamma-beta") != run(*asked, "gamma")


def test_a_criterion_is_found_in_a_recipe(run):
    check = "from engine.recipes import recipe_from_dict as check; "
    step = "check({'steps': [{'prune': {'prune_ratio': 0.3, 'criterion': %r}}]})"
    assert "gamma-beta" in run("-c", f"{check}print({step % 'gamma-beta'})")
    assert "gamma-beta" in run("-c", check + step % "gamma-bet", code=1)


def test_a_criterion_gets_gradients_of_images(run):
    scored = f"{BATCHES}scores = group_scores(graph, model, settings, batches=lambda: [batch, batch])\n"
    scored += """
assert np.isfinite(scores[1:]).all() and len(set(scores[1:])) > 1000
once = group_scores(graph, model, settings, batches=lambda: [batch])
assert np.allclose(scores[1:], 2 * once[1:], rtol=1e-4)
dead = [not model.get_submodule(layer.name).weight[c] and not model.get_submodule(layer.name).bias[c]
        for layer in graph.layers for c in range(layer.channels)]
groups = np.concatenate([layer.groups for layer in graph.layers])
alone = [group for group, gone in zip(groups, dead) if gone and (groups == group).sum() == 1]
assert not scores[alone].any()
print(len(alone))
"""
    run("-c", scored)
    assert "looks at images" in run("-c", f"{BATCHES}group_scores(graph, model, settings)", code=1)


def test_a_criterion_that_looks_at_images_is_handed_those_of_a_data_set(run):
    asked = ("-m", "engine", "preview", "--weights", WEIGHTS, "--prune-ratio", "0.3", "--criterion", "snip", "--json")
    assert "snip looks at images; say of which data set (--data)" in run(*asked, code=2)
    drawn = "from engine.demo.dataset import make_demo_dataset as draw; from pathlib import Path; "
    data = run("-c", f"{drawn}print(draw(Path('drawn'), train=8, val=4, imgsz=64))").strip()
    assert run(*asked, "--data", data) != run(*asked[:-2], "gamma", "--json")


def test_a_format_is_exported_through_its_gates_and_timed(run, copy):
    asked = ("--weights", WEIGHTS, "--imgsz", "64")
    told = run("-m", "engine", "export", *asked, "--format", "frozen", "--save-dir", "out", "--strict", "--json")
    assert (copy / "out" / "yolov8n-harbour-sparse.frozen").is_file() and '"passed": true' in told
    told = run("-m", "engine", "latency", *asked, "--runtime", "frozen", "torchscript", "--repeats", "5", "--json")
    assert '"runtime": "frozen"' in told and '"runtime": "torchscript"' in told


def test_an_option_is_found_on_the_terminal_and_in_a_recipe_and_reaches_ultralytics(run):
    for verb in ("train", "sparsify", "finetune"):
        assert "--close-mosaic N" in run("-m", "engine", verb, "--help")
    assert "--close-mosaic" in run("-m", "engine.settings.docs")
    refused = run("-m", "engine", "train", "--weights", WEIGHTS, "--data", "x.yaml", "--close-mosaic", "-1", code=2)
    assert "--close-mosaic is -1; it must be a whole number of at least 0" in refused
    check = "from engine.recipes import recipe_from_dict as check; "
    step = "check({'steps': [{'train': {'close_mosaic': %s}}]})"
    assert "'close_mosaic': 5" in run("-c", f"{check}print({step % 5})")
    assert "close_mosaic" in run("-c", check + step % -1, code=1)
    used = """
from engine.settings.command import command_of
from engine.settings.requests import read_request
from engine.verbs.training import run_settings
spec = {"weights": "a.pt", "data": "d.yaml", "save_dir": "run", "epochs": 20, "imgsz": 64, "device": "cpu"}
for told, wanted in (({"close_mosaic": 5}, 5), ({}, 10)):
    request = read_request("train", {**spec, **told})
    settings = run_settings(request, weights="a.pt", data="d.yaml", imgsz=64, teacher=None, extra={})
    assert settings.overrides()["close_mosaic"] == wanted
assert "--close-mosaic 5" in command_of("train", {**spec, "close_mosaic": 5})
"""
    run("-c", used)


def test_pages_show_what_was_added(run):
    shown = f"""{PAGES}
assert not app.exception
app.switch_page(str(Path("pages/widths.py").resolve())).run()
assert not app.exception and app.title[0].value == "Widths" and len(app.dataframe[0].value) == 57
app.switch_page(str(Path("pages/prune.py").resolve())).run()
assert not app.exception and "|gamma| + |beta|" in app.selectbox(key="criterion").options
app.selectbox(key="criterion").select("gamma-beta").run()
assert not app.exception
app.switch_page(str(Path("pages/train.py").resolve())).run()
(shown,) = [widget for widget in app.number_input if widget.label == "Epochs without mosaic"]
assert not app.exception and shown.value == 10
app.switch_page(str(Path("pages/export.py").resolve())).run()
assert not app.exception and "Frozen TorchScript" in str(app)
"""
    run("-c", shown)

"""A family in a real browser: the tree with its numbers, a click that opens, and the command that repeats a step."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import jobs
from engine.base import numbers
from engine.checkpoints.checkpoint import open_checkpoint
from engine.workspace.family_scores import family_scores
from engine.workspace.store import ACTIVE_STATES, Store
from tests.e2e.conftest import ROOT
from tests.e2e.reading import table, traces
from tests.e2e.tab import query
from tests.runs import TINY, tiny_data, write_dense

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_LAST_S = 300


@pytest.fixture(scope="module")
def family(server, tmp_path_factory):
    """An imported model, what was pruned from it, that fine-tuned for an epoch, and that exported."""
    from app.models import library

    store, folder = Store(server[1]), tmp_path_factory.mktemp("family")
    source = write_dense(folder / "harbour.pt")
    with pytest.MonkeyPatch.context() as patch, open(source, "rb") as stream:
        patch.setenv("PRUNE_WORKSPACE", str(server[1]))
        imported = library.add_upload(store, "harbour.pt", source.stat().st_size, stream)
        pruned = library.prune_into(store, imported, {"prune_ratio": 0.5, "imgsz": 320, "round_to": 8})
    data = tiny_data(folder)
    tuned = done(store, "finetune", pruned, {**TINY, "epochs": 1, "data": data})
    (tuned_id,) = tuned.model_ids
    exported = done(store, "export", store.model(tuned_id), {"imgsz": 64})
    return SimpleNamespace(imported=imported, pruned=pruned, tuned=store.model(tuned_id), exported=exported, data=data)


def done(store, verb: str, model, spec):
    """Run a job to its end."""
    job = jobs.submit(store, verb, {"weights": str(model.path), **spec}, f"{verb} of {model.name}", model.id)
    deadline = time.monotonic() + _LAST_S
    while store.job(job.id).state in ACTIVE_STATES and time.monotonic() < deadline:
        time.sleep(0.2)
    job = store.job(job.id)
    assert job.state == "done", job.reason
    return job


def settings(page, count: int) -> dict[str, str]:
    """Return the settings that made the member on show, so many of them."""
    lines = table(page, "Setting", lambda lines: len(lines) == count)
    return {line["Setting"]: line["Value"] for line in lines}


def click_card(page, name: str) -> None:
    """Click on the middle of a card of the tree, as a mouse does."""
    cards = page.locator(".st-key-family-tree .barlayer .point path")
    at = [text for trace in traces(page, "family tree") if trace["mode"] == "text" for text in trace["text"]]
    place = cards.nth(next(i for i, text in enumerate(at) if text.startswith(f"<b>{name}</b>"))).bounding_box()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)


def heading(page, name: str):
    return page.get_by_test_id("stMain").get_by_role("heading", name=name, exact=True)


def test_the_tree_stands_with_its_numbers_and_a_click_opens_a_member(server, family, page):
    from playwright.sync_api import expect

    page.goto(f"{server[0]}/lineage?model={family.pruned.id}")
    heading(page, family.pruned.name).wait_for()
    drawn = traces(page, "family tree")
    cards = next(trace["text"] for trace in drawn if trace["mode"] == "text")
    assert [card.split("<br>")[0] for card in cards] == [
        f"<b>{name}</b>" for name in (family.imported.name, family.pruned.name, family.tuned.name, "ONNX fp32")
    ]
    store = Store(server[1])
    ratio = f"ratio {numbers.ratio(family.pruned.made['ratio_achieved'])}"
    size = numbers.megabytes(family.exported.result.size_mb)
    assert [card.split("<br>")[1] for card in cards] == [
        " · ".join(["Imported", *known(store, family.imported)]),
        " · ".join(["Pruned", ratio, *known(store, family.pruned)]),
        " · ".join(["Fine-tuned", *known(store, family.tuned)]),
        " · ".join(["Exported", size]),
    ]
    assert "mAP50-95" in cards[2], "training measures what it makes"
    assert len([trace for trace in drawn if trace["mode"] == "lines"]) == 3, "each but the first hangs on its parent"
    expect(page.locator(".st-key-family-tree .barlayer .point path")).to_have_count(4)
    expect(page.locator(".st-key-family-tree text").filter(has_text="Fine-tuned")).to_have_count(1)

    # A real click opens a model, and the settings that made it.
    click_card(page, family.tuned.name)
    heading(page, family.tuned.name).wait_for()
    assert query(page, "model") == family.tuned.id
    expect(page.get_by_test_id("stSidebar").get_by_role("combobox")).to_have_value(family.tuned.name)
    assert settings(page, 8) == {
        "weights": family.pruned.name,
        "data": family.data,
        "epochs": "1",
        **{name: str(TINY[name]) for name in ("imgsz", "batch", "nbs", "device", "workers")},
    }

    # An exported file goes on show beside the model it came from, by the same click.
    click_card(page, "ONNX fp32")
    heading(page, "ONNX fp32").wait_for()
    assert query(page, "model") == family.tuned.id
    assert settings(page, 2) == {"weights": family.tuned.name, "imgsz": "64"}
    click_card(page, family.imported.name)
    heading(page, family.imported.name).wait_for()
    assert query(page, "model") == family.imported.id
    expect(page.get_by_text("there is no command that makes it")).to_be_visible()


def known(store, model) -> list[str]:
    """Return what a card says of a model besides how it was made: what its file holds, and what was measured."""
    params = open_checkpoint(model.path).params
    told = family_scores(store, model).get(model.digest)
    score = told.metrics["mAP50-95"] if told else None
    return [f"{numbers.count(params)} parameters", *([] if score is None else [f"mAP50-95 {numbers.score(score)}"])]


@pytest.mark.parametrize("step", ["pruned", "tuned"])
def test_the_command_repeats_the_step_as_it_stands(server, family, page, tmp_path, step):
    model = getattr(family, step)
    page.goto(f"{server[0]}/lineage?model={model.id}")
    heading(page, model.name).wait_for()
    command = page.get_by_test_id("stMain").get_by_test_id("stCode").inner_text().strip()
    assert "\n" not in command and command.startswith("python -m engine ")
    made = repeat(command, tmp_path)
    assert made.params == open_checkpoint(model.path).params < open_checkpoint(family.imported.path).params


def repeat(command: str, folder):
    """Run a command in a terminal, its output below a folder of its own, and open what it made."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LAST_S
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    made = sorted(folder.glob("runs/**/*.pt"))
    assert [path.name for path in made] in (["pruned.pt"], ["best.pt", "last.pt"])
    return open_checkpoint(made[0])


def test_a_lost_file_is_told_with_what_cannot_be_repeated_without_it(server, family, page):
    from playwright.sync_api import expect

    aside = family.pruned.path.rename(family.pruned.path.with_suffix(".aside"))
    try:
        page.goto(f"{server[0]}/lineage?model={family.pruned.id}")
        expect(page.get_by_role("alert")).to_contain_text("Its file is gone")
        expect(page.get_by_text("Repeats it on the terminal")).to_be_visible()
        click_card(page, family.tuned.name)
        heading(page, family.tuned.name).wait_for()
        gone = f"It cannot be repeated as it stands: {family.pruned.name} is missing. Put back {family.pruned.name}"
        expect(page.get_by_text(gone)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        aside.rename(family.pruned.path)

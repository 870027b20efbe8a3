"""The report: one file, everything escaped, nothing asked of any network."""

import re
import shutil
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.pruning.session import Slimming
from engine.reports import gather, report_html
from engine.verbs import run_verb
from engine.workspace.store import Store
from tests.runs import tiny_data

ROOT = Path(__file__).resolve().parents[3]
DENSE, SPARSE = (ROOT / "demo" / f"yolov8n-harbour{end}.pt" for end in ("", "-sparse"))
HOSTILE = "<script>alert(1)</script> & <img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """(store, pruned model, data set) with hostile names everywhere."""
    folder = tmp_path_factory.mktemp("report")
    store = Store(folder / "workspace")
    data = Path(tiny_data(folder))
    sparse = store.add_model(SPARSE, HOSTILE, "demo", made={"verb": "sparsify"}, metrics={"mAP50-95": 0.71})
    path = Slimming.open(SPARSE).prune(0.5, folder / "pruned.pt")
    made = {"verb": "prune", "ratio_achieved": 0.5, "spec": {"prune_ratio": 0.5, HOSTILE: HOSTILE, "data": str(data)}}
    pruned = store.add_model(path, f"pruned {HOSTILE}", "pruned", parent_id=sparse.id, made=made)
    spec = {"weights": str(SPARSE), "data": str(data), "images": 2, "imgsz": 64, "recalibrate": 0, "device": "cpu"}
    run_verb("accuracy", {**spec, "ratios": [0.3, 0.6], "measurements": str(store.folder / "measurements")})
    return store, pruned, data


@pytest.fixture(scope="module")
def page(workspace):
    store, pruned, data = workspace
    return report_html(gather(pruned.path, store=store, data=data))


def test_every_section_is_there(page):
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == [
        "Before and after",
        "Lineage and settings",
        "Gammas",
        "Channels of each layer",
        "Accuracy against ratio",
        "Sample predictions",
    ]
    assert page.count("<img ") == 4 and page.count("data:image/jpeg;base64,") == 4
    assert "3,011,433" in page and "0.710" in page


def test_no_name_becomes_markup(page):
    assert "<script" not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;img" in page


def hostile(value):
    """A copy of what a report is made of in which every word is markup."""
    if isinstance(value, str):
        return f'{HOSTILE} " onload="alert(3)'
    if isinstance(value, tuple):
        return tuple(map(hostile, value))
    if is_dataclass(value):
        kept = ("task", "training", "study", "metrics")
        return replace(value, **{f.name: hostile(getattr(value, f.name)) for f in fields(value) if f.name not in kept})
    return {key: hostile(each) for key, each in value.items()} if isinstance(value, dict) else value


def test_whatever_word_is_markup_the_page_has_the_same_elements_and_attributes(workspace):
    def elements(facts):
        found = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes: found.append((tag, tuple(name for name, _ in attributes)))
        parser.feed(report_html(facts))
        return found

    facts = gather(SPARSE, reference=DENSE, data=workspace[2])
    assert hostile(facts).model.layers[0].name != facts.model.layers[0].name
    assert set(elements(hostile(facts))) <= set(elements(facts))
    assert "alert(3)" in report_html(hostile(facts))


def test_nothing_leaves_the_file_and_no_path_of_this_machine_is_told(page, workspace):
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", page)
    assert "default-src 'none'" in page
    assert str(workspace[2].parent) not in page and "data.yaml" in page
    assert len(page) < 1_000_000


def test_a_lost_parent_and_a_lost_data_set_are_said_not_raised(workspace, tmp_path):
    store, pruned, _ = workspace
    shutil.copytree(store.folder, tmp_path / "copy")
    copied = Store(tmp_path / "copy")
    parent, child = copied.lineage(pruned.id)
    parent.path.unlink()
    page = report_html(gather(child.path, store=copied, data=tmp_path / "gone.yaml"))
    assert "does not exist" in page and "&lt;script&gt;" in page


def test_the_terminal_writes_one_without_a_workspace(tmp_path):
    result = run_verb("report", {"weights": str(SPARSE), "reference": str(DENSE), "save_dir": str(tmp_path)})
    page = Path(result["report"]).read_text()
    assert "yolov8n-harbour-sparse" in page and "No data set was given." in page and "+0.040" in page


def test_a_browser_shows_it_without_a_request_or_a_dialog(page, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except sync_api.Error:
            pytest.skip("no Chromium was found")
        tab = browser.new_page(viewport={"width": 800, "height": 900})
        asked, said = [], []
        tab.route("**/*", lambda route: (asked.append(route.request.url), route.continue_()))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        tab.goto(file.as_uri())
        assert [url for url in asked if not url.startswith(("data:", file.as_uri()))] == []
        assert said == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= 800
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        browser.close()

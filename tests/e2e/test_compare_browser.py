"""Models side by side in a real browser: what is measured once is the same in the table, the figures and the file."""

import csv
import re

import pytest

from engine.base.measurements import MeasurementKey
from engine.reports.comparison import open_candidate
from engine.validation.cache import dataset_digest
from engine.workspace.store import Store, StoredMeasurements
from tests.e2e.reading import drawn_pictures, settled, table, traces, wait_until
from tests.e2e.tab import query

pytestmark = [pytest.mark.browser, pytest.mark.slow]

IMGSZ = 128
METRICS = {"mAP50-95": "mAP50-95", "mAP50": "mAP50", "Precision": "precision", "Recall": "recall"}


@pytest.fixture(scope="module")
def models(server, demo_pruned):
    """The demo's dense and sparse model, and a pruned one that is smaller and less accurate than the sparse one."""
    return demo_pruned


def known(store, model, data) -> dict | None:
    """Return what the workspace keeps of a model under the conditions of these tests."""
    digest = dataset_digest(data, "val")
    return StoredMeasurements(store).get(MeasurementKey(model.digest, digest, "val", IMGSZ, 16, "cpu"))


def wait_for_axis(page, title: str) -> None:
    """Wait for the scatter with this cost; for a moment, the old figure stands beside the new one."""
    titles = page.locator(".st-key-compare-scatter .xtitle")
    wait_until(page, lambda: titles.all_text_contents() == [title], f"The figure of {title}")


def told(lines: list[dict[str, str]], column: str = "mAP50-95") -> list[str]:
    return [line[column] for line in lines]


def is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", text) is not None


def assert_shown(page, store, models, data) -> None:
    """The table says of each model what its file is and what was measured, to the last digit."""
    names = [model.name for model in models]
    lines = table(page, "mAP50-95", lambda lines: told(lines, "Model") == names and all(map(is_number, told(lines))))
    assert told(lines, "Model") == names
    for line, model in zip(lines, models, strict=True):
        size, measured = open_candidate(model.path), known(store, model, data)
        assert {column: float(line[column]) for column in METRICS} == {
            column: pytest.approx(measured["metrics"][metric], abs=1e-12) for column, metric in METRICS.items()
        }
        assert int(line["Parameters"]) == size.facts.params
        assert float(line["GFLOPs"]) == pytest.approx(size.gflops)
        assert float(line["MB"]) == pytest.approx(size.facts.size_mb)


def download(page, folder) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def remove(page, name: str) -> None:
    page.get_by_test_id("stMultiSelect").get_by_role("button", name=f"Remove {name}", exact=True).click()


def choose(page, label: str, name: str) -> None:
    page.get_by_test_id("stMain").get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=name, exact=True).click()


def chosen(page):
    return page.get_by_test_id("stMultiSelect").locator("[data-tag]")


def test_what_is_missing_is_measured_and_what_is_known_is_not(browser, server, models, page):
    from playwright.sync_api import expect

    address, workspace = server
    store, (demo, pruned) = Store(workspace), models
    page.goto(f"{address}/compare?model={pruned.id}")
    expect(page.get_by_role("button", name="Measure 3 models")).to_be_visible()
    expect(chosen(page)).to_have_text(["Demo: dense", "Demo: sparse-trained", pruned.name])
    remove(page, "Demo: sparse-trained")
    size = page.get_by_test_id("stMain").get_by_role("spinbutton", name="Image size", exact=True)
    size.fill(str(IMGSZ))
    size.press("Tab")
    page.get_by_role("button", name="Measure 2 models").click()
    wait_until(page, lambda: known(store, pruned, demo.data), "The pruned model was not measured")
    expect(page.get_by_text(f"Accuracy on the val images at {IMGSZ} px")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Measure (it|2)"))).to_have_count(0)
    assert_shown(page, store, [demo.dense, pruned], demo.data)

    # A refresh keeps the models and the conditions, and so the numbers.
    page.reload()
    expect(page.get_by_text(f"Accuracy on the val images at {IMGSZ} px")).to_be_visible()
    expect(chosen(page)).to_have_text(["Demo: dense", pruned.name])
    assert_shown(page, store, [demo.dense, pruned], demo.data)
    expect(page.get_by_role("button", name=re.compile("^Measure (it|2)"))).to_have_count(0)

    # One more model: the job takes what is known and measures the rest.
    before = [known(store, model, demo.data) for model in (demo.dense, pruned)]
    choose(page, "Models", "Demo: sparse-trained")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Measure it").click()
    wait_until(page, lambda: known(store, demo.sparse, demo.data), "The sparse model was not measured")
    expect(page.get_by_role("button", name="Measure it")).to_have_count(0)
    assert_shown(page, store, [demo.dense, pruned, demo.sparse], demo.data)
    latest = store.jobs()[0]
    texts = [event.payload.get("text", "") for event in store.events(latest.id, kinds=("status",))]
    assert sum("was measured before" in text for text in texts) == 2
    assert [known(store, model, demo.data) for model in (demo.dense, pruned)] == before
    assert [job.verb for job in store.jobs()] == ["compare", "compare"]


@pytest.fixture
def measured(server, models):
    """(store, demo, pruned model) once all three are measured, whichever test ran before."""
    from engine.reports.comparison import compare

    store, (demo, pruned) = Store(server[1]), models
    compare(
        [model.path for model in (demo.dense, demo.sparse, pruned)], demo.data, imgsz=IMGSZ, batch=16, device="cpu",
        cache=StoredMeasurements(store),
    )  # fmt: skip
    return store, demo, pruned


def test_the_figures_and_the_file_hold_the_numbers_of_the_table(server, measured, page, tmp_path):
    from playwright.sync_api import expect

    store, demo, pruned = measured
    everyone = [demo.dense, demo.sparse, pruned]
    page.goto(f"{server[0]}/compare?model={pruned.id}&imgsz={IMGSZ}&batch=16")
    expect(page.get_by_text("Dotted: the Pareto front.")).to_be_visible()
    assert_shown(page, store, everyone, demo.data)
    lines = {line["Model"]: line for line in table(page, "mAP50-95")}

    # The file: the same numbers, and the changes against the reference.
    rows = {row["Model"]: row for row in download(page, tmp_path)}
    assert list(rows) == list(lines)
    assert [name for name, row in rows.items() if row["Reference"] == "True"] == ["Demo: dense"]
    for name, row in rows.items():
        for column in (*METRICS, "Parameters", "GFLOPs", "MB"):
            assert float(row[column]) == float(lines[name][column]), (name, column)
            base = float(rows["Demo: dense"][column])
            change = float(row[column]) - base if column in METRICS else float(row[column]) / base - 1
            assert float(row[f"{column} change"]) == pytest.approx(change, abs=1e-9)

    # Another reference moves the changes.
    choose(page, "Changes against", "Demo: sparse-trained")
    expect(page.get_by_text("Changes are against Demo: sparse-trained.")).to_be_visible()
    assert query(page, "reference") == demo.sparse.id
    assert [row["Model"] for row in download(page, tmp_path) if row["Reference"] == "True"] == ["Demo: sparse-trained"]

    # The figure: every model at its cost, and the line of those that nothing beats.
    for cost in ("Parameters", "GFLOPs"):
        settled(page)
        page.get_by_test_id("stMain").get_by_role("radio", name=cost, exact=True).click()
        wait_for_axis(page, cost)
        settled(page)
        drawn = {trace["name"]: trace for trace in traces(page, "compare scatter")}
        places = {(float(line[cost]), float(line["mAP50-95"])) for line in lines.values()}
        points = [drawn["On the Pareto front"], drawn["Another one is better"]]
        assert {place for trace in points for place in zip(trace["x"], trace["y"], strict=True)} == places
        front = [(float(lines[name][cost]), float(lines[name]["mAP50-95"])) for name in (pruned.name, demo.sparse.name)]
        assert list(zip(drawn["Pareto front"]["x"], drawn["Pareto front"]["y"], strict=True)) == front
        expect(page.locator(".st-key-compare-scatter .scatterlayer .js-line")).to_have_count(1)


def test_classes_and_boxes_show_what_each_model_finds(server, measured, page):
    from playwright.sync_api import expect

    store, demo, pruned = measured
    page.goto(f"{server[0]}/compare?model={pruned.id}&imgsz={IMGSZ}&models={demo.dense.id}&models={pruned.id}")
    page.get_by_role("radio", name="By class", exact=True).click()
    expect(page.get_by_text("Against Demo: dense.", exact=True)).to_be_visible()
    of_classes = {model.name: known(store, model, demo.data)["per_class"] for model in (demo.dense, pruned)}
    for line in table(page, "Class"):
        for name, per_class in of_classes.items():
            assert float(line[name]) == pytest.approx(per_class[line["Class"]], abs=1e-12)
    (bars,) = traces(page, "compare classes")
    changes = {each: of_classes[pruned.name][each] - of_classes["Demo: dense"][each] for each in bars["y"]}
    assert set(bars["y"]) == set(of_classes[pruned.name]) and bars["x"] == pytest.approx(list(changes.values()))

    # The boxes: as many dashed ones as the sentence above the picture says.
    page.get_by_role("radio", name="On images", exact=True).click()
    expect(page.get_by_text("Image 1 of 48", exact=True)).to_be_visible()
    expect(page.get_by_text("Two boxes mark the same object")).to_be_visible()
    first = wait_until(page, lambda: drawn_pictures(page) if len(drawn_pictures(page)) == 2 else None, "No pictures")
    for name, picture in zip(("Demo: dense", pruned.name), first, strict=True):
        sentence = page.get_by_text(re.compile(rf"^{re.escape(name)} · \d+ box")).inner_text()
        boxes = int(re.search(r"· (\d+) box", sentence)[1])
        alone = re.search(r", (\d+|all) (of them )?only here", sentence)
        marked = 0 if alone is None else boxes if alone[1] == "all" else int(alone[1])
        assert picture.count('fill="none"') == 2 * boxes, "each box is drawn twice: dark below, bright above"
        assert picture.count("stroke-dasharray") == marked, sentence
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_text("Image 2 of 48", exact=True)).to_be_visible()
    wait_until(page, lambda: len(drawn_pictures(page)) == 2 and drawn_pictures(page) != first, "The same pictures")
    assert page.get_by_role("alert").count() == 0


def test_latency_is_measured_from_the_page_and_becomes_a_cost(server, measured, page):
    from playwright.sync_api import expect

    store, demo, pruned = measured
    page.goto(f"{server[0]}/compare?model={pruned.id}&imgsz={IMGSZ}&models={demo.dense.id}&models={pruned.id}")
    page.get_by_role("button", name="Measure latency").click()
    page.get_by_role("radio", name="Latency, ms", exact=True).click()
    wait_for_axis(page, "Latency, ms")
    job = next(job for job in store.jobs() if job.verb == "latency")
    measured_ms = {timing.weights: timing.p50_ms for timing in job.result.results}
    lines = {line["Model"]: float(line["Latency, ms"]) for line in table(page, "Latency, ms")}
    assert lines == {model.name: pytest.approx(measured_ms[str(model.path)]) for model in (demo.dense, pruned)}
    xs = [x for trace in traces(page, "compare scatter") if trace["mode"] != "lines" for x in trace["x"]]
    assert sorted(xs) == pytest.approx(sorted(lines.values()))
    expect(page.get_by_role("button", name="Measure latency")).to_have_count(0)


def test_an_address_that_makes_no_sense_and_a_single_model_leave_a_page_that_says_what_to_do(server, measured, page):
    from playwright.sync_api import expect

    pruned = measured[2]
    page.goto(f"{server[0]}/compare?model={pruned.id}&models=none&reference=none&imgsz=none&batch=0&split=none")
    expect(page.get_by_text("Accuracy on the val images at 320 px")).to_be_visible()
    expect(chosen(page)).to_have_text(["Demo: dense", "Demo: sparse-trained", pruned.name])
    assert page.get_by_role("alert").count() == 0

    page.goto(f"{server[0]}/compare?model={pruned.id}&models={pruned.id}&imgsz={IMGSZ}")
    expect(page.get_by_text("Choose a second model to hold this one against.")).to_be_visible()
    page.get_by_role("radio", name="On images", exact=True).click()
    expect(page.get_by_text("Choose a second model to see what only one of the two finds.")).to_be_visible()
    page.get_by_role("radio", name="test", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("has no 'test' images; choose another split.")
    assert query(page, "split") == "test"

"""A comparison in tables, figures and pictures."""

import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.charts import comparison as comparing_charts
from app.charts.boxes import boxes_on_image
from app.comparison import side_by_side
from app.comparison import tables as comparing_tables
from app.comparison.predictions import difference_sentence
from engine.profile.facts import CheckpointFacts, ModelFacts, RecordedScore
from engine.reports.comparison import Candidate
from engine.reports.comparison import side_by_side as compared
from engine.settings.results import Measured
from engine.validation.detections import Boxes
from engine.workspace.store import Job, Model
from tests.results import measurement, timing

START = datetime(2025, 1, 1, tzinfo=UTC)
NAMES = {"/w/a.pt": "Dense", "/w/b.pt": "Pruned", "/w/c.pt": "New"}


def size(name: str, params: int) -> Candidate:
    facts = {
        **{"digest": "0" * 64, "task": "detect", "names": {0: "cat", 1: "dog"}, "trained_imgsz": 320, "stride": 32},
        **{"params": params, "gflops": params / 1e6, "size_mb": params / 5e5, "made": {}, "training": {}},
        **{"fitting": ModelFacts(f"{name}.pt", ("cat", "dog")), "told": RecordedScore({}, None)},
        **{"end2end": False, "centres": False},
    }
    return Candidate(Path(f"/w/{name}.pt"), CheckpointFacts(**facts), params / 1e6)


def measured(score: float, cat: float) -> Measured:
    metrics = {"precision": 0.9, "recall": 0.8, "mAP50": 0.9, "mAP50-95": score}
    return Measured(**measurement(metrics=metrics, per_class={"cat": cat, "dog": 0.5}))


@pytest.fixture
def comparison():
    sizes = [size("a", 4_000_000), size("b", 1_000_000), size("c", 5_000_000)]
    known = [measured(0.6, 0.7), measured(0.55, 0.6), None]
    return compared(sizes, known, 0, data="d.yaml", split="val", imgsz=320)


def test_the_table_holds_numbers_and_gaps_where_nothing_was_measured(comparison):
    table = comparing_tables.comparison_table(comparison, NAMES, {})
    assert table["Model"].tolist() == ["Dense", "Pruned", "New"]
    assert table["Parameters"].tolist() == [4_000_000, 1_000_000, 5_000_000]
    assert table["mAP50-95"].tolist()[:2] == [0.6, 0.55] and pd.isna(table["mAP50-95"][2])
    assert "Latency, ms" not in table
    timed = comparing_tables.comparison_table(comparison, NAMES, {"/w/a.pt": 9.0, "/w/b.pt": 4.0, "/w/c.pt": 9.5})
    assert timed["Latency, ms"].tolist() == [9.0, 4.0, 9.5]


def test_cells_tell_the_change_in_green_where_it_is_better_and_red_where_worse(comparison):
    table = comparing_tables.comparison_table(comparison, NAMES, {})
    html = comparing_tables.with_changes(table, 0, dark=False).to_html()
    assert "1.00 M (−75.0\u00a0%)" in html and "0.550 (−0.050)" in html and ">4.00 M<" in html
    better, worse = comparing_tables.palette(False).better, comparing_tables.palette(False).worse
    colour = comparing_tables._colour
    assert colour("Parameters", 4e6, False)(1e6) == f"color: {better}"
    assert colour("mAP50", 0.6, False)(0.5) == f"color: {worse}"
    assert colour("mAP50", 0.6, False)(0.6001) == "", "what rounds to nothing is neither"
    assert colour("mAP50", float("nan"), False)(0.6) == ""


def test_the_csv_holds_every_number_and_change(comparison):
    table = comparing_tables.comparison_table(comparison, NAMES, {})
    read = pd.read_csv(io.StringIO(comparing_tables.table_csv(table, 0)))
    assert read["Reference"].tolist() == [True, False, False]
    assert read["mAP50-95 change"].tolist()[:2] == pytest.approx([0, -0.05]) and pd.isna(read["mAP50-95 change"][2])
    assert read["Parameters change"].tolist() == pytest.approx([0, -0.75, 0.25])


def test_classes_and_their_changes(comparison):
    table = comparing_tables.class_table(comparison, NAMES)
    assert table["Class"].tolist() == ["cat", "dog"] and table["Pruned"].tolist() == [0.6, 0.5]
    assert comparing_tables.class_changes(comparison, NAMES) == {"Pruned": {"cat": pytest.approx(-0.1), "dog": 0.0}}


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_names_every_model_and_draws_the_front(dark):
    names = ["cheap", "good", "beaten"]
    figure = comparing_charts.accuracy_against_cost(
        names, [1.0, 3.0, 4.0], [0.5, 0.7, 0.6], cost="GFLOPs", score="mAP50-95", dark=dark
    )
    front, on, off = figure.data
    assert list(front.x) == [1.0, 3.0] and list(on.text) == ["cheap", "good"] and list(off.text) == ["beaten"]


@pytest.mark.parametrize("count", [1, 2])
def test_models_of_equal_cost_and_score_can_be_drawn(count):
    figure = comparing_charts.accuracy_against_cost(
        ["same"] * count, [1.0] * count, [0.5] * count, cost="x", score="y", dark=False
    )
    low, high = figure.layout.xaxis.range
    assert low < 1.0 < high
    sides = [side for trace in figure.data if trace.textposition for side in trace.textposition]
    assert len(set(sides)) == len(sides) == count, "their names do not cover each other"


def test_of_many_classes_those_that_changed_most_are_drawn():
    changes = {"Pruned": {str(number): number / 1000 for number in range(80)}}
    assert comparing_charts.most_changed(changes) == [str(number) for number in range(79, 59, -1)]
    assert len(comparing_charts.class_bars(changes, dark=False).data[0].y) == 20


def test_a_long_name_keeps_both_ends():
    name = "Blood cells, sparse-trained, pruned 0.50, fine-tuned"
    short = comparing_charts.shortened(name)
    assert len(short) <= 34 and short.startswith("Blood cells") and short.endswith("fine-tuned")
    assert comparing_charts.shortened("Dense") == "Dense"


def model(model_id: str, parent: str | None, minute: int) -> Model:
    created = START + timedelta(minutes=minute)
    return Model(model_id, model_id, Path(f"/w/{model_id}.pt"), model_id, parent, {}, "imported", 1, {}, created)


LINE = [model("a", None, 0), model("b", "a", 1), model("c", "b", 2), model("sibling", "a", 3), model("d", "c", 4)]


def test_ancestors_and_descendants_are_chosen_at_first_and_siblings_are_not():
    assert side_by_side.relatives(LINE[::-1], LINE[2]) == ["a", "b", "c", "d"]
    assert side_by_side.relatives(LINE[::-1], LINE[0]) == ["a", "b", "c", "sibling", "d"]
    assert side_by_side.relatives(LINE[:1], LINE[0]) == ["a"]


def test_a_deleted_model_holds_its_relatives_together_and_is_not_chosen():
    line = [replace(each, deleted_at=START) if each.id in ("a", "c") else each for each in LINE]
    assert side_by_side.relatives(line[::-1], line[1]) == ["b", "d"]
    assert side_by_side.relatives(line[::-1], line[4]) == ["b", "d"]


def test_of_a_long_line_the_nearest_and_the_oldest_are_chosen():
    line = [model("0", None, 0), *(model(str(number), str(number - 1), number) for number in range(1, 10))]
    assert side_by_side.relatives(line[::-1], line[9]) == ["0", "6", "7", "8", "9"]


def test_changes_are_told_against_the_oldest_ancestor_that_was_chosen():
    assert side_by_side.default_reference(LINE, LINE[:3]) == "a"
    assert side_by_side.default_reference(LINE[1:], LINE[:3]) == "b"
    assert side_by_side.default_reference([LINE[3]], LINE[:3]) == "sibling"
    assert side_by_side.default_reference([], LINE[:3]) is None


def job(verb: str, state: str = "done", job_id: str = "j", result: dict | None = None) -> Job:
    told = None if result is None else json.dumps(result)
    return Job(job_id, verb, verb, {}, state, None, None, START, None, None, told, None, None, False)


def timed(*paths: str, ms: float = 5.0, **changed) -> dict:
    usual = {"digest": None, "imgsz": 320, "threads": 2, "p50_ms": ms}
    return {"results": [timing(weights=path, **{**usual, **changed}) for path in paths]}


A, B = "/w/a.pt", "/w/b.pt"
DIGESTS = {A: "da", B: "db"}


def test_latency_counts_only_where_one_job_measured_all_of_them_in_turns():
    apart = [job("latency", result=timed(A)), job("latency", result=timed(B))]
    assert side_by_side.latencies(apart, DIGESTS, 320) == ({}, None)
    together = [*apart, job("latency", result=timed(A, B, "/w/c.pt", ms=7.0)), job("latency", result=timed(A, B))]
    assert side_by_side.latencies(together, DIGESTS, 320) == ({A: 7.0, B: 7.0}, 2)
    assert side_by_side.latencies(together, DIGESTS, 640) == ({}, None)


@pytest.mark.parametrize("runtime", ["torch", "cuda"])
def test_latency_of_another_runtime_is_not_what_the_column_says(runtime):
    other, onnx = timed(A, B, ms=1.0, runtime=runtime), timed(A, B, ms=7.0)
    assert side_by_side.latencies([job("latency", result=other)], DIGESTS, 320) == ({}, None)
    both = {"results": other["results"] + onnx["results"]}
    assert side_by_side.latencies([job("latency", result=both)], DIGESTS, 320) == ({A: 7.0, B: 7.0}, 2)


def test_latency_in_different_numbers_of_threads_is_not_held_against_each_other():
    mixed = {"results": timed(A, threads=1)["results"] + timed(B, threads=4)["results"]}
    assert side_by_side.latencies([job("latency", result=mixed)], DIGESTS, 320) == ({}, None)
    single = job("latency", result=timed(A, B, threads=1))
    assert side_by_side.latencies([single], DIGESTS, 320) == ({A: 5.0, B: 5.0}, 1)


def test_latency_of_a_file_that_has_changed_since_does_not_count():
    def told(digest: str) -> Job:
        results = timed(A, digest="da")["results"] + timed(B, digest=digest)["results"]
        return job("latency", result={"results": results})

    assert side_by_side.latencies([told("before")], DIGESTS, 320) == ({}, None)
    assert side_by_side.latencies([told("before"), told("db")], DIGESTS, 320) == ({A: 5.0, B: 5.0}, 2)


def test_the_page_follows_what_runs_and_shows_why_it_ended_but_not_that_it_is_done():
    done, failed, running = job("compare", "done", "d"), job("compare", "failed", "f"), job("latency", "running", "r")
    assert side_by_side.job_to_show([done, failed], "d") is None
    assert side_by_side.job_to_show([done, failed], "f") is failed
    assert side_by_side.job_to_show([done, failed, running], "f") is running
    assert side_by_side.job_to_show([job("train", "running")], "j") is None


def test_the_picture_is_well_formed_and_marks_what_only_one_model_finds():
    found = Boxes(np.array([[0, 0, 50, 40], [60, 10, 90, 60]], float), np.array([0.9, 0.4]), np.array([0, 1]))
    svg = boxes_on_image(b"jpeg", (100, 80), found, [1], {0: "a", 1: 'tug & "tow" <boat>'})
    root = ElementTree.fromstring(svg)
    dashed = [rect for rect in root if rect.get("stroke-dasharray")]
    assert len(dashed) == 1 and dashed[0].get("x") == "60.0"
    assert [text.text for text in root if text.tag.endswith("text")] == ["a 0.90", 'tug & "tow" <boat> 0.40']


def test_with_many_boxes_only_the_differences_are_labelled():
    corners = np.tile([0.0, 0.0, 9.0, 9.0], (20, 1))
    svg = boxes_on_image(b"", (100, 80), Boxes(corners, np.ones(20), np.zeros(20, int)), [3], {0: "cell"})
    assert svg.count("<text") == 1


@pytest.mark.parametrize(
    ("found", "alone", "words"),
    [
        (0, 0, "no box"),
        (1, 0, "1 box, found by both"),
        (1, 1, "1 box, only here"),
        (7, 0, "7 boxes, all found by both"),
        (7, 2, "7 boxes, 2 of them only here"),
        (7, 7, "7 boxes, all only here"),
    ],
)
def test_the_difference_in_words(found, alone, words):
    assert difference_sentence("Dense", found, alone) == f"**Dense** · {words}"

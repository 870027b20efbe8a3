"""Studies: found and continued by everything they depend on, also those that version 0.2.0 wrote."""

import json
from dataclasses import replace

import pytest

from engine.pruning.criteria import ImportanceSettings
from engine.validation.study import Study, StudyFile, find_studies, interpolated, read_study, settings_of

STUDY = Study("accuracy", "a" * 64, {"measure": {"imgsz": 64}}, data_digest="b" * 64, device="cpu", images=3)
BEFORE = {
    "kind": "accuracy",
    "weights": "a" * 64,
    "data_digest": "b" * 64,
    "settings": {"measure": {"imgsz": 64}, "solver": {"own": [["model.0", 0.5]]}},
    "device": "1",
    "data": "/a/data.yaml",
    "images": 3,
    "name": "x.pt",
    "points": {"dense": {"metrics": {"mAP50-95": 0.5}}},
}
"What version 0.2.0 wrote, and under which name."
BEFORE_NAME = "accuracy-aaaaaaaaaaaaaaaa-cfe3ea251ca2edef.json"


def at(score: float) -> dict:
    return {"metrics": {"mAP50-95": score}}


def test_two_jobs_that_measure_the_same_keep_each_other_s_points(tmp_path):
    ours, theirs = (StudyFile(tmp_path, STUDY) for _ in range(2))
    ours.put("0.2000", at(0.1))
    theirs.put("0.4000", at(0.2))
    ours.put("0.6000", at(0.3))
    theirs.put("0.8000", at(0.4))
    written = read_study(ours.path)
    assert list(written.points) == ["0.2000", "0.4000", "0.6000", "0.8000"] and written.images == 3
    assert theirs.study.metrics("0.2000") == {"mAP50-95": 0.1}, "what another measured is not measured again"
    ours.path.unlink()
    theirs.put("1.0000", at(0.5))
    assert len(read_study(ours.path).points) == 5, "a file that was deleted meanwhile takes nothing along"


@pytest.mark.parametrize(
    "change",
    [{"weights": "c" * 64}, {"data_digest": "c" * 64}, {"device": "0"}, {"kind": "sensitivity"}, {"settings": {}}],
    ids=lambda change: next(iter(change)),
)
def test_a_study_is_not_continued_under_other_conditions(tmp_path, change):
    StudyFile(tmp_path, STUDY).put("dense", at(0.5))
    assert StudyFile(tmp_path, replace(STUDY, name="copy.pt")).study.metrics("dense") == {"mAP50-95": 0.5}
    assert StudyFile(tmp_path, replace(STUDY, **change)).study.points == {}


def test_what_version_0_2_0_measured_is_found_and_continued(tmp_path):
    (tmp_path / BEFORE_NAME).write_text(json.dumps(BEFORE, indent=1))
    assert find_studies(tmp_path, "accuracy", "a" * 64) == [tmp_path / BEFORE_NAME]
    head = {name: BEFORE[name] for name in BEFORE if name != "points"}
    going_on = StudyFile(tmp_path, Study(**head))
    assert going_on.path.name == BEFORE_NAME and going_on.study.metrics("dense") == {"mAP50-95": 0.5}
    going_on.put("0.5000", at(0.4) | {"ratio_achieved": 0.5})
    written = json.loads((tmp_path / BEFORE_NAME).read_text())
    assert {**written, "points": None, "blocks": None} == {**BEFORE, "points": None, "blocks": None}
    assert list(written["points"]) == ["dense", "0.5000"] and read_study(going_on.path).cuts() == [
        {"metrics": {"mAP50-95": 0.4}, "ratio_achieved": 0.5}
    ]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", json.dumps({**BEFORE, "points": [1]}), json.dumps({**BEFORE, "points": {"dense": 1}})],
)
def test_a_file_that_is_no_study_counts_as_none(tmp_path, content):
    (tmp_path / BEFORE_NAME).write_text(content)
    assert read_study(tmp_path / BEFORE_NAME) is None and read_study(tmp_path / "gone.json") is None


def test_settings_compare_with_those_of_a_file(tmp_path):
    settings = settings_of(importance=ImportanceSettings(sensitivity=(("model.4", 1.8),)))
    file = StudyFile(tmp_path, replace(STUDY, settings=settings))
    file.put("dense", at(0.5))
    assert read_study(file.path).settings == settings


def test_between_measured_ratios_the_curve_is_straight_and_beyond_them_silent():
    points = [(0.0, 0.8), (0.5, 0.6)]
    assert interpolated(points, 0.25) == pytest.approx(0.7)
    assert interpolated(points, 0.6) is None and interpolated([], 0.1) is None

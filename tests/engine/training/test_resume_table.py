"""No setting of a training is changed by a resume in silence: each is compared, or the table names it as free."""

from dataclasses import fields
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le

from engine.base.errors import TrainingError
from engine.settings.fields import SettingsError, fields_of
from engine.settings.requests import REQUESTS, read_request
from engine.settings.training import Sparsity
from engine.settings.verb_facts import TRAINING
from engine.training import TrainSettings, named_fields, resumed_settings
from engine.training.resuming import FREE, field_of, note_start
from engine.verbs.training import run_settings, sparsity_settings

CASES = [(verb, setting) for verb in TRAINING for setting in fields_of(REQUESTS[verb]).values()]
IDS = [f"{verb} {setting.name}" for verb, setting in CASES]
OWN = {field.name for field in fields(TrainSettings)}


def two_values(setting, folder):
    """Return two values that a setting can have."""
    if setting.choices:
        return setting.choices[:2]
    if setting.is_switch:
        return False, True
    if setting.kind.name == "path":
        for name in ("a", "b"):
            (folder / name).touch()
        return str(folder / "a"), str(folder / "b")
    if setting.kind.name == "arguments":
        return {"mosaic": 0.5}, {"mosaic": 0.25}
    if setting.kind.name in ("pixels", "image size"):
        return 64, 96
    if setting.kind.name == "whole number":
        low = int(setting.bound(Ge) or 0)
        return low, low + 1
    low, high = setting.bound(Ge) or setting.bound(Gt) or 0.0, setting.bound(Le) or 1.0
    return low + (high - low) / 4, low + (high - low) / 2


def asked(verb, folder, **said):
    """Return the request and the settings of a run, as the verb makes them, without a model."""
    needed = {"weights": "a.pt", "data": "d.yaml", "save_dir": str(folder), "imgsz": 64, "device": "cpu"}
    request = read_request(verb, {**needed, **said})
    decided = {"weights": "a.pt", "data": Path("d.yaml"), "imgsz": request.imgsz}
    decided |= {"extra": request.arguments, "teacher": getattr(request, "teacher", None)}
    sparsity = sparsity_settings(request) if verb == "sparsify" else None
    return request, run_settings(request, sparsity, **decided)


@pytest.mark.parametrize(("verb", "setting"), CASES, ids=IDS)
def test_another_value_when_a_run_goes_on_is_refused_or_free_by_name(verb, setting, tmp_path):
    folder, field = tmp_path / "run", field_of(setting.name)
    folder.mkdir()
    if setting.option.resume == "refused":
        with pytest.raises(SettingsError):
            asked(verb, folder, **{setting.name: 0.5})
        return
    if setting.option.resume == "free":
        assert field in FREE or field not in OWN
        return
    assert setting.option.resume == "compared" and field in OWN
    more = {"method": "proximal"} if setting.name in Sparsity.PENALTY else {}
    before, after = ({**more, setting.name: value} for value in two_values(setting, tmp_path))
    note_start(asked(verb, folder, **before)[1], "digest")
    request, wanted = asked(verb, folder, **after, resume=True)
    with pytest.raises(TrainingError, match=r"was started with (another|other Ultralytics)"):
        resumed_settings(wanted, named_fields(request), "digest")
    request, same = asked(verb, folder, **before, resume=True)
    assert getattr(resumed_settings(same, named_fields(request), "digest"), field) == getattr(same, field)


def test_what_is_free_is_what_says_where_and_how_fast_a_run_computes():
    assert FREE == {"weights", "data", "save_dir", "device", "workers", "batch", "processes", "tracker", "resume"}

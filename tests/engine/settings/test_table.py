"""The table of settings: what stands in it, and that terminal, recipes and documents say the same."""

import subprocess
import sys
from math import inf, nan, nextafter
from pathlib import Path

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt

from engine.base.errors import WorkbenchError
from engine.cli import main
from engine.recipes import RecipeError, recipe_from_dict
from engine.recipes.format import step_settings
from engine.settings.docs import settings_page
from engine.settings.fields import SettingsError, fields_of
from engine.settings.parser import build_parser, help_text
from engine.settings.requests import REQUESTS, RunRequest, read_request
from engine.settings.verb_facts import STEP_VERBS

ROOT = Path(__file__).resolve().parents[3]
TABLE = {**REQUESTS, "run": RunRequest}
KNOWN = yaml.safe_load(Path(__file__).with_name("known_settings.yaml").read_text(encoding="utf-8"))


def test_the_defaults_are_the_ones_that_people_know():
    for verb, request in TABLE.items():
        told = {name: each.default for name, each in fields_of(request).items() if each.default not in (None, ())}
        listed = {name: list(held) if isinstance(held, tuple) else held for name, held in told.items()}
        assert {name: held for name, held in listed.items() if held is not False} == KNOWN["defaults"][verb]


def test_bounds_are_the_ones_that_people_know():
    for verb, request in TABLE.items():
        told = {name: each.bounds_words for name, each in fields_of(request).items() if each.bounds_words}
        assert told == KNOWN["bounds"][verb], verb


@pytest.mark.parametrize("verb", TABLE)
def test_the_terminal_has_every_option_that_it_ever_had(verb):
    words = "json " + " ".join(
        name if name in ("ultralytics", "recipe") else setting.flag.lstrip("-")
        for name, setting in fields_of(TABLE[verb]).items()
        if setting.option.terminal
    )
    assert set(words.split()) == set(KNOWN["flags"][verb].split())


@pytest.mark.parametrize("verb", TABLE)
def test_help_tells_what_every_option_is_and_what_holds_without_it(verb, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    for setting in fields_of(TABLE[verb]).values():
        if setting.option.terminal:
            assert help_text(setting).replace("- ", "-") in shown
            assert setting.usual_words in help_text(setting)


def test_docs_are_what_the_table_says():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "python -m engine.settings.docs > docs/settings.md"


def test_the_table_is_known_without_anything_heavy():
    heavy = "{'torch', 'ultralytics', 'streamlit', 'numpy', 'cv2'} & set(sys.modules)"
    modules = ", ".join(f"engine.settings.{name}" for name in ("requests", "parser", "command", "docs", "verb_facts"))
    program = f"import sys, {modules}; print({heavy})"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


# Values that cannot be


def values_out_of_bounds(setting):
    """Return values just beyond each bound of a setting."""
    whole = setting.kind.name in ("whole number", "pixels")
    ge, gt, le, lt = (setting.bound(kind) for kind in (Ge, Gt, Le, Lt))
    beyond = [gt, lt]
    beyond += [None if ge is None else (ge - 1 if whole else nextafter(ge, -inf))]
    beyond += [None if le is None else (le + 1 if whole else nextafter(le, inf))]
    return [int(value) if whole else value for value in beyond if value is not None]


def wrong_values(setting):
    """Return values that a setting cannot have."""
    if setting.is_switch:
        return []
    if setting.choices:
        return ["magic"]
    wrong = {"whole number": ["many", "1.5"], "number": ["much", nan, inf], "pixels": ["384,640"], "images": [0, 2.5]}
    return [*values_out_of_bounds(setting), *wrong.get(setting.kind.name, [])]


CASES = [
    pytest.param(verb, setting, value, id=f"{verb} {setting.name} {value}")
    for verb, request in REQUESTS.items()
    for setting in fields_of(request).values()
    for value in wrong_values(setting)
]
NEEDED = {"weights": "a.pt", "data": "d.yaml"}


def needed(verb):
    return {name: value for name, value in NEEDED.items() if name in REQUESTS[verb].model_fields}


@pytest.mark.parametrize(("verb", "setting", "value"), CASES)
def test_a_value_that_cannot_be_is_refused_alike_wherever_it_is_said(verb, setting, value, capsys):
    given = [value] if setting.several else value
    with pytest.raises(SettingsError) as refusal:
        read_request(verb, {**needed(verb), setting.name: given})
    told = str(refusal.value)
    assert told.startswith(f"{setting.flag} is ") and "; it must be " in told and "\n" not in told
    words = [f"--{name}={text}" for name, text in needed(verb).items()]
    try:
        code = main([verb, *words, f"{setting.flag}={value}"])
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == 2 and said.count("\n") == 1 and setting.flag in said
    if verb in STEP_VERBS and setting.name in step_settings(verb):
        with pytest.raises(RecipeError, match=f"has {setting.name}: .*; it must be "):
            recipe_from_dict({"steps": [{"prune": {}}, {verb: {setting.name: value}}]})


@pytest.mark.parametrize("verb", REQUESTS)
def test_every_default_and_every_bound_itself_is_taken(verb):
    for name, setting in fields_of(REQUESTS[verb]).items():
        values = [setting.bound(Ge), setting.bound(Le), *([] if setting.default in (None, ()) else [setting.default])]
        for value in (each for each in values if each is not None):
            whole = setting.kind.name in ("whole number", "pixels") and not setting.several
            given = (value,) if setting.several and not isinstance(value, tuple) else int(value) if whole else value
            assert read_request(verb, {**needed(verb), name: given}).given[name] == given


def test_a_setting_that_is_not_known_is_refused_with_the_one_that_may_have_been_meant():
    with pytest.raises(SettingsError, match=r"^train does not know 'epoch'; did you mean epochs\?$"):
        read_request("train", {**NEEDED, "epoch": 3})
    with pytest.raises(WorkbenchError, match="There is no verb 'polish'"):
        read_request("polish", NEEDED)
    with pytest.raises(SettingsError, match=r"^--data is missing"):
        read_request("train", {"weights": "a.pt"})


def test_none_is_what_was_not_said_and_what_says_how_a_job_runs_is_passed_over():
    job = {**NEEDED, "epochs": None, "lr0": 0.5, "workspace": "w", "save_dir": "s", "chain": {"base": "b", "made": []}}
    assert set(read_request("train", job).given) == {"weights", "data", "lr0", "workspace", "save_dir", "chain"}
    assert read_request("latency", {"weights": "a.pt", "save_dir": "s", "workspace": "w"}).given == {
        "weights": ("a.pt",)
    }

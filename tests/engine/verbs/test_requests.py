"""What verbs take: the request that the table has for each, read once from a specification."""

from typing import get_type_hints

import pytest

from engine.settings.fields import SettingsError
from engine.settings.requests import REQUESTS, read_request
from engine.settings.results import RESULTS
from engine.settings.where import Chain, Saves
from engine.verbs import VERBS, run_verb
from engine.workspace.store import Store
from tests.made_by import unpack

SAVING = [verb for verb, request in REQUESTS.items() if issubclass(request, Saves)]


def test_every_verb_takes_its_request_and_returns_its_result():
    assert list(VERBS) == list(REQUESTS)
    for verb, do in VERBS.items():
        taken, *_, returned = get_type_hints(do).values()
        assert taken is REQUESTS[verb] and returned is RESULTS[verb], verb


@pytest.mark.parametrize("verb", ["prune", "export", "report"])
def test_what_is_made_needs_a_folder(verb, tiny_checkpoint, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    asked = {"weights": str(tiny_checkpoint()), **({"prune_ratio": 0.3} if verb == "prune" else {})}
    with pytest.raises(SettingsError, match=r"^--save-dir is missing; say it on the command line\.$"):
        run_verb(verb, asked)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("verb", SAVING)
def test_the_folder_of_a_request_is_the_one_that_is_said(verb, tmp_path):
    needed = {"weights": "a.pt", "data": "d.yaml", "save_dir": str(tmp_path)}
    assert read_request(verb, needed).folder == tmp_path


def test_every_job_that_version_0_2_0_left_is_read_as_its_worker_would_read_it(tmp_path):
    store = Store(unpack("0.2.0", tmp_path) / "workspace")
    for job in store.jobs():
        spec = {**job.spec, "save_dir": "s", "workspace": str(store.folder), "resume": True}
        request = read_request(job.verb, spec)
        kept = request.given.keys() & {"epochs", "prune_ratio", "imgsz", "lr0", "optimizer", "workspace"}
        assert {name: request.given[name] for name in kept} == {name: spec[name] for name in kept}
        chain = getattr(request, "chain", None)
        assert chain == (Chain(**spec["chain"]) if "chain" in spec else None)


def test_a_request_in_python_says_what_was_said():
    request = REQUESTS["train"](weights="a.pt", data="d.yaml", imgsz=None, epochs=3)
    assert request.given == {"weights": "a.pt", "data": "d.yaml", "epochs": 3}
    assert request.batch == 16 and request.imgsz is None

"""Results of verbs: what version 0.2.0 wrote is read, and told again under the same names."""

import json

import pytest

from engine.base.errors import StorageError
from engine.settings import results_docs
from engine.settings.results import (
    RESULTS,
    Artefact,
    PruneResult,
    Result,
    TrainingResult,
    dumped,
    kept_result,
    parsed,
)
from engine.verbs import VERBS
from tests.results import WRITTEN, written


def told_again(old, new) -> bool:
    """Whether everything that an old version said is said again, at any depth."""
    if isinstance(old, dict):
        return all(name in new and told_again(value, new[name]) for name, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(told_again, old, new))
    return old == new and type(old) is type(new)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_version_0_2_0_wrote_is_told_again_under_the_same_names(name):
    old = WRITTEN[name]
    result = parsed(name.partition(" ")[0], old)
    new = json.loads(json.dumps(dumped(result), allow_nan=False))
    assert told_again(old, new)
    assert parsed(name.partition(" ")[0], new) == result, "what is told is read as what it was"


def test_every_verb_has_a_result_and_a_sample_of_the_old_version():
    assert set(RESULTS) == {*VERBS, "run"} == {name.partition(" ")[0] for name in WRITTEN}


def test_values_keep_the_types_of_their_fields():
    result = parsed("inspect", WRITTEN["inspect"])
    assert result.names[0] == "motorboat" and result.image_channels is None and result.layers[0].channels == 16
    assert parsed("export", WRITTEN["export"]).gates[0].passed is True
    assert parsed("val", written("val", imgsz=320)).imgsz == 320


def test_what_is_none_by_default_is_not_told_and_other_nothings_are():
    told = dumped(parsed("export", written("export", opset=None)))
    assert "torchscript" not in told and "model_ids" not in told and told["opset"] is None
    assert dumped(Artefact(path="a.pt", kind="pruned", is_model=True)) == {
        "path": "a.pt",
        "kind": "pruned",
        "register": True,
    }


def test_the_steps_of_a_run_are_read_as_results_of_their_verbs():
    run = parsed("run", WRITTEN["run"])
    assert [type(step.result) for step in run.steps[:2]] == [PruneResult, TrainingResult]
    assert run.steps[1].result.comparison[0].role == "parent"


def test_a_result_that_is_none_of_its_verb_is_refused_or_read_for_what_all_have_in_common():
    with pytest.raises(StorageError, match="This is no result of latency: results: Field required"):
        parsed("latency", {"metrics": {}})
    common = kept_result("latency", '{"metrics": {"mAP50": 0.5}, "model_ids": ["a"], "results": [1]}')
    assert common == Result(metrics={"mAP50": 0.5}, model_ids=("a",))
    assert kept_result("latency", '{"artefacts": 1}') is None
    assert kept_result("of a later version", '{"artefacts": []}') == Result()


def test_scripts_that_took_a_result_for_a_dictionary_go_on():
    result = parsed("prune", WRITTEN["prune"])
    assert result["layers"] == WRITTEN["prune"]["layers"] and result["artefacts"][0]["register"] is True
    with pytest.raises(KeyError):
        result["latency_ms"]


def test_the_pages_of_results_are_made_from_their_models():
    message = "run: python -m engine.settings.results_docs"
    assert (results_docs.DOCS / "results.md").read_text(encoding="utf-8") == results_docs.page(), message
    told = json.loads((results_docs.DOCS / "results.schema.json").read_text(encoding="utf-8"))
    assert told == results_docs.schema(), message


def test_every_name_that_is_told_stands_in_the_schema_with_its_meaning_in_words():
    schema = results_docs.schema()
    for name, old in WRITTEN.items():
        verb = name.partition(" ")[0]
        model = schema["$defs"][schema["verbs"][verb]["$ref"].rpartition("/")[2]]
        assert set(dumped(parsed(verb, old))) <= set(model["properties"])
        assert set(model["required"]) <= set(old), "what an old version did not write is not required"
    assert schema["$defs"]["ComparedModel"]["properties"]["latency_ms"]["description"].startswith("milliseconds of one")


def test_every_field_says_what_it_means():
    models = results_docs.schema()["$defs"]
    silent = [
        (model, name)
        for model, told in models.items()
        for name, field in told.get("properties", {}).items()
        if not field.get("description")
    ]
    assert not silent

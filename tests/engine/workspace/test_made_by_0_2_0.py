"""What people made with version 0.2.0 keeps opening: checkpoints, recipes, workspaces, and what hangs on them."""

import json
import shlex
from pathlib import Path

import pytest

from engine import jobs
from engine.checkpoints.checkpoint import open_checkpoint
from engine.cli import main
from engine.recipes import load_recipe, recipe_from_job, recipe_to_yaml
from engine.settings.command import command_of
from engine.settings.parser import build_parser
from engine.settings.verb_facts import MODEL_MAKERS, STEP_VERBS
from engine.verbs.recipe import check_recipe
from engine.workspace.figures import figures_of
from engine.workspace.lineage import family
from engine.workspace.store import Model, Store
from tests.made_by import unpack
from tests.runs import TINY

VERBS = {"sparsify", "prune", "finetune", "compare", "export", "val", "accuracy", "sensitivity", "latency", "train"}
PARAMS = {"imported": 123_150, "sparse": 123_150, "pruned": 25_498, "finetuned": 25_498, "trained": 123_150}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return unpack("0.2.0", tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def store(made) -> Store:
    return Store(made / "workspace")


@pytest.fixture(scope="module")
def by_kind(store) -> dict[str, Model]:
    return {model.kind: model for model in store.models()}


def test_every_model_opens_with_what_was_known_of_it(store, by_kind):
    assert {kind: model.params for kind, model in by_kind.items()} == PARAMS
    told = figures_of(store, store.models())
    for kind, model in by_kind.items():
        checkpoint = open_checkpoint(model.path)
        assert checkpoint.params == model.params and checkpoint.digest == model.digest
        assert told[model.id].params == PARAMS[kind] and told[model.id].gflops > 0


def test_the_family_is_known_and_every_step_has_a_command_that_the_terminal_takes(store, by_kind):
    line = store.lineage(by_kind["finetuned"].id)
    assert [model.kind for model in line] == ["imported", "sparse", "pruned", "finetuned"]
    told = figures_of(store, store.models())
    members = family(store.models(), store.jobs(), told, by_kind["finetuned"].id)
    commands = [command_of(member.verb, member.spec) for member in members if member.verb in STEP_VERBS]
    assert len(commands) >= 4
    for command in commands:
        assert build_parser().parse_args(shlex.split(command)[3:])


def test_every_job_is_read_with_its_result_and_becomes_a_recipe(store):
    assert {job.verb for job in store.jobs()} == VERBS
    for job in store.jobs():
        assert job.state == "done" and job.result
        assert jobs.progress(store, job).percent == 100
        if job.verb in MODEL_MAKERS or job.verb == "export":
            assert recipe_from_job(job.verb, job.spec).steps[0].verb == job.verb


def test_what_was_measured_is_still_known(store, by_kind):
    measured = {key.weights for key, _ in store.measured([model.digest for model in by_kind.values()])}
    assert {by_kind["imported"].digest, by_kind["finetuned"].digest} <= measured


def test_its_recipe_is_read_checked_and_written_as_it_was(made, by_kind, tmp_path):
    recipe = load_recipe(made / "recipe.yaml")
    assert [step.verb for step in recipe.steps] == ["sparsify", "prune", "finetune", "compare", "export"]
    again = tmp_path / "again.yaml"
    again.write_text(recipe_to_yaml(recipe))
    assert load_recipe(again) == recipe
    check_recipe(recipe, str(by_kind["imported"].path), str(made / "set" / "data.yaml"), "cpu")


def test_a_chain_that_it_ran_is_told_step_by_step(store):
    (chain,) = {job.chain_id for job in store.jobs() if job.chain_id}
    told = jobs.chain_status(store, chain)
    assert [step.verb for step in told.steps] == ["sparsify", "prune", "finetune", "compare", "export"]
    assert told.finished and all(store.job(step.job_id).state == "done" for step in told.steps)


def test_its_checkpoints_are_pruned_and_fine_tuned_further(made, by_kind, tmp_path, capsys):
    weights, data = str(by_kind["sparse"].path), str(made / "set" / "data.yaml")
    assert main(["prune", "--weights", weights, "--prune-ratio", "0.4", "--save-dir", str(tmp_path), "--json"]) == 0
    pruned = json.loads(capsys.readouterr().out)
    assert pruned["params"] == PARAMS["pruned"], "as version 0.2.0 pruned it"
    options = [word for key, value in {**TINY, "epochs": 1}.items() for word in (f"--{key}", str(value))]
    tuned = ["finetune", "--weights", str(by_kind["pruned"].path), "--data", data, *options, "--json"]
    assert main([*tuned, "--teacher", weights, "--save-dir", str(tmp_path / "tuned")]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == PARAMS["pruned"]

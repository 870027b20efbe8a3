"""Recipes: what they say, what is wrong with them in one sentence, and whole runs that stop and go on."""

import json
import os
import shutil
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import WorkbenchError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.cli import main
from engine.recipes import (
    Recipe,
    RecipeError,
    Step,
    load_recipe,
    recipe_from_dict,
    recipe_from_job,
    recipe_to_yaml,
    shipped_names,
    shipped_recipes,
)
from engine.recipes.format import MODEL_MAKERS, MOST_BYTES, MOST_STEPS, STEP_VERBS, step_settings
from engine.recipes.steps import made_models, step_spec
from engine.settings.results import Artefact, Result
from engine.verbs.recipe import check_run, run_recipe
from tests.models import write_checkpoint
from tests.runs import write_dense
from tests.short import short

TINY = {"epochs": 1, "imgsz": 64, "batch": 4, "nbs": 4, "workers": 0}


# --- text ----------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30).filter(str.strip)


def values(setting):
    """Return a strategy for the values that a setting takes."""
    low, high = setting.bound(Ge), setting.bound(Le)
    above, below = setting.bound(Gt), setting.bound(Lt)
    kinds = {
        "switch": st.booleans(),
        "whole number": st.integers(int(low or 0), int(high or 10**12)),
        "number": st.floats(
            low if above is None else above,
            high if below is None else below,
            exclude_min=above is not None,
            exclude_max=below is not None,
            allow_nan=False,
            allow_infinity=False,
        ),
        "pixels": st.integers(32, 10**6),
        "image size": st.integers(1, 10**6) | st.sampled_from([[384, 640], [640, 384]]),
        "images": st.integers(1, 64) | st.sampled_from([-1, 0.5]),
    }
    one = st.sampled_from(setting.choices) if setting.choices else kinds.get(setting.kind.name, words)
    return st.lists(one, min_size=1, max_size=3) if setting.several else one


@st.composite
def step_strategy(draw, verbs=STEP_VERBS):
    verb = draw(st.sampled_from(verbs))
    options = {name: setting for name, setting in step_settings(verb).items() if name != "ultralytics"}
    settings = {key: draw(values(options[key])) for key in draw(st.sets(st.sampled_from(sorted(options))))}
    if verb == "finetune" and draw(st.booleans()):
        settings["distill"] = draw(st.booleans())
    return Step(verb, settings)


maybe = st.none() | words
recipes = st.builds(
    Recipe,
    name=words,
    description=st.just("") | words,
    steps=st.tuples(step_strategy(MODEL_MAKERS), step_strategy(), step_strategy()),
    weights=maybe,
    data=maybe,
    device=maybe,
)


@given(recipes)
def test_a_recipe_survives_being_written_and_read(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(recipe_to_yaml(recipe), encoding="utf-8")
    read = load_recipe(path)
    assert (read.name, read.description, read.steps, read.device) == (
        recipe.name,
        recipe.description,
        recipe.steps,
        recipe.device,
    )
    for mine, theirs in ((recipe.weights, read.weights), (recipe.data, read.data)):
        assert theirs == mine or theirs == str(path.parent / mine)


def test_shipped_recipes_are_whole_chains_and_fit_any_model():
    assert list(shipped_names()) == ["quick-look", "careful", "small-gpu"]
    quick, careful, small = shipped_recipes()
    for recipe in (quick, careful, small):
        assert [step.verb for step in recipe.steps] == ["sparsify", "prune", "finetune", "compare", "export"]
        assert recipe.description and recipe.weights is None and recipe.data is None and recipe.device is None
        assert not any("imgsz" in step.settings for step in recipe.steps)
        assert json.loads(json.dumps(recipe.as_dict())) == recipe.as_dict()
    assert [careful.steps[2].settings.get("distill"), small.steps[2].settings.get("distill")] == [True, None]
    assert small.steps[0].settings == {"epochs": 50, "prune_ratio": 0.5, "batch": 4, "workers": 0, "nbs": 64}


def test_paths_in_a_recipe_are_relative_to_it_and_official_names_stay_names(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("weights: runs/best.pt\ndata: ../set/data.yaml\nsteps: [prune: {prune_ratio: 1e-1}]\ndevice: 0\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.device) == ("r", "0")
    assert recipe.weights == str(tmp_path / "runs" / "best.pt")
    assert Path(recipe.data) == tmp_path / ".." / "set" / "data.yaml"
    assert recipe.steps == (Step("prune", {"prune_ratio": 0.1}),), "YAML reads 1e-1 as text"
    path.write_text("weights: yolov8n.pt\nsteps: [export]\n")
    assert load_recipe(path).weights == "yolov8n.pt"
    (tmp_path / "yolov8n.pt").touch()
    assert load_recipe(path).weights == str(tmp_path / "yolov8n.pt")


def test_a_job_becomes_a_recipe_without_what_belongs_to_it_alone():
    spec = {"weights": "a.pt", "data": "d.yaml", "save_dir": "x", "resume": True, "chain": 3, "epochs": 7, "lr0": None}
    spec |= {"teacher": "t.pt", "unheard_of": 1}
    spec["device"] = "1"
    recipe = recipe_from_job("finetune", spec)
    assert recipe.steps == (Step("finetune", {"epochs": 7, "distill": True}),), "another machine has other devices"
    assert recipe_from_dict({"name": recipe.name, "steps": [{"finetune": {"epochs": 7, "distill": True}}]}) == recipe
    plan = {"prune_ratio": 0.3, "compensate": False, "protect_residual": False, "lock": []}
    assert recipe_from_job("prune", plan, "Mine").as_dict() == {
        "name": "Mine",
        "steps": [{"verb": "prune", "settings": {"prune_ratio": 0.3, "compensate": False}}],
    }
    with pytest.raises(RecipeError, match="inspect"):
        recipe_from_job("inspect", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "something else"),
        ("- prune", "something else"),
        ("name: x", "no steps"),
        ("steps: []", "no steps"),
        ("steps: prune", "no steps"),
        ("step: [export]", "did you mean steps"),
        ("{name: [a], steps: [export]}", "name: a list of 1"),
        ("steps: [polish]", "Step 1 is 'polish'"),
        ("steps: [export, {prune: {}, val: {}}]", "Step 2 is not one verb"),
        ("steps: [export, 3]", "Step 2 is not one verb"),
        ("steps: [inspect]", "'inspect'"),
        ("steps: [prune: 0.5]", "Step 1 (prune) has settings"),
        ("steps: [prune: {prune_ration: 0.5}]", "did you mean prune_ratio"),
        ("steps: [prune: {no_compensate: true}]", "did you mean compensate"),
        ("steps: [prune: {1: 2}]", "does not know 1"),
        ("steps: [prune: {prune_ratio: half}]", "prune_ratio: 'half'; it must be a number"),
        ("steps: [prune: {prune_ratio: .nan}]", "finite"),
        ("steps: [prune: {prune_ratio: true}]", "true; it must be a number"),
        ("steps: [prune: {prune_ratio: }]", "nothing; it must be a number"),
        ("steps: [prune: {criterion: magic}]", "it must be one of "),
        ("steps: [prune: {lock: []}]", "list with at least one"),
        ("steps: [prune: {per_layer: 1}]", "true or false"),
        ("steps: [train: {epochs: 1.5}]", "Step 1 (train) has epochs: 1.5; it must be a whole number"),
        (f"steps: [train: {{epochs: 0x{'F' * 9000}}}]", "a number too large"),
        ("steps: [train: {weights: a.pt}]", "sets weights"),
        ("steps: [finetune: {teacher: a.pt}]", "sets teacher"),
        ("steps: [sparsify: {distill: true}]", "only finetune"),
        ("steps: [finetune: {distill: much}]", "true or false"),
        ("steps: [compare, prune: {prune_ratio: 0.5}]", "nothing to compare"),
        ("steps: [export, compare]", "Step 2 (compare) has nothing to compare"),
        ("steps: [export]\nsteps: [val]", "twice"),
        ("a: &a [x]\nsteps: [*a, *a]", "references"),
        ("steps: [" * 2000, "nested more than 20 deep"),
        ("steps: [export", "line 1"),
        ("name: 2001-99-99\nsteps: [export]", "not valid YAML"),
        ("name: !!python/name:os.system\nsteps: [export]", "not valid YAML"),
        ("steps: [" + "export, " * 101 + "export]", "102 steps"),
        ("# " + "x" * 70_000, "64 KB"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(text, expected, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as refusal:
        load_recipe(path)
    told = str(refusal.value)
    assert expected in told and "\n" not in told and len(told) < 400
    assert told.endswith((".", "?"))


def test_the_most_steps_and_the_largest_file_are_still_taken(tmp_path):
    path = tmp_path / "large.yaml"
    text = f"steps: [{', '.join(['export'] * MOST_STEPS)}]\n#"
    path.write_text(text.ljust(MOST_BYTES, "x"), encoding="utf-8")
    assert len(load_recipe(path).steps) == MOST_STEPS


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), st.lists))
def test_no_value_of_a_setting_ends_in_anything_but_a_sentence(value):
    for key in ("epochs", "lr0", "optimizer", "distill"):
        try:
            recipe_from_dict({"steps": [{"finetune": {key: value}}]})
        except RecipeError as error:
            assert "Step 1 (finetune)" in str(error)


# --- what a step is told -------------------------------------------------------------------------------------------


def test_a_step_works_on_the_last_model_that_was_made():
    assert step_spec("prune", {"prune_ratio": 0.5}, "b.pt") == {
        "prune_ratio": 0.5, "weights": "b.pt", "chain": {"base": "b.pt", "made": []},
    }  # fmt: skip
    assert step_spec("export", {}, "b.pt", ["c.pt", "d.pt"])["weights"] == "d.pt"
    files = ({"path": "c.pt", "kind": "pruned", "register": True}, {"path": "c.onnx", "kind": "onnx"})
    results = [Result(artefacts=tuple(Artefact.model_validate(file) for file in files)), Result()]
    assert made_models(results) == ["c.pt"]


def test_data_and_device_go_only_to_steps_that_take_them():
    told = {verb: set(step_spec(verb, {}, "b.pt", ["c.pt"], data="d.yaml", device="0")) for verb in STEP_VERBS}
    assert {verb for verb in told if "device" in told[verb]} == set(STEP_VERBS) - {"prune", "export"}
    assert all("data" in keys for keys in told.values())
    assert not {"data", "device"} & set(step_spec("train", {}, "b.pt"))


@pytest.mark.parametrize(
    ("run", "own", "of_recipe", "expected"),
    [("0", "1", "2", "0"), (None, "1", "2", "1"), (None, None, "2", "2"), (None, None, None, None)],
)
def test_the_device_of_the_run_wins_over_the_steps_own(run, own, of_recipe, expected):
    settings = {} if own is None else {"device": own}
    spec = step_spec("train", settings, "b.pt", device=run, recipe_device=of_recipe)
    assert spec.get("device") == expected


def test_what_is_measured_beside_the_model_a_recipe_starts_from():
    settings = {"epochs": 2, "distill": True}
    tuned = step_spec("finetune", settings, "b.pt", ["c.pt"])
    assert (tuned["reference"], tuned["teacher"], "distill" in tuned) == ("b.pt", "b.pt", False)
    assert settings["distill"] is True
    plain = step_spec("finetune", {"distill": False}, "b.pt", ["c.pt"])
    assert plain["reference"] == "b.pt" and not {"teacher", "distill"} & set(plain)
    compared = step_spec("compare", {"split": "test"}, "b.pt", ["c.pt", "d.pt"])
    assert (compared["weights"], compared["reference"]) == (["b.pt", "c.pt", "d.pt"], "b.pt")
    scratch = step_spec("compare", {}, "b.yaml", ["c.pt", "d.pt"])
    assert scratch["weights"] == ["c.pt", "d.pt"] and "reference" not in scratch
    assert "reference" not in step_spec("finetune", {}, "b.yaml", ["c.pt"])


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model that knows the classes of the data set by their names."""
    folder = tmp_path_factory.mktemp("base")
    model = open_checkpoint(write_dense(folder / "unnamed.pt")).model
    model.names = {0: "motorboat", 1: "sailboat", 2: "barge"}
    return write_checkpoint(model, folder / "base.pt")


def chain(**finetune) -> Recipe:
    return recipe_from_dict(
        {
            "name": "Tiny",
            "device": "cpu",
            "steps": [
                {"sparsify": {**TINY, "prune_ratio": 0.5}},
                {"prune": {"prune_ratio": 0.5}},
                {"finetune": {**TINY, **finetune}},
                {"compare": {"imgsz": 64}},
                {"export": {"imgsz": 64}},
            ],
        }
    )


@pytest.mark.slow
def test_a_whole_recipe_on_the_terminal_stopped_by_its_surroundings_and_gone_on_with(base, data, tmp_path, capsys):
    path, out = tmp_path / "tiny.yaml", tmp_path / "out"
    path.write_text(recipe_to_yaml(chain(distill=True)))
    ask = ["run", str(path), "--weights", str(base), "--data", data, "--save-dir", str(out), "--json"]
    out.mkdir()
    (out / "2-prune").write_text("in the way")
    assert main(ask) == 2
    told = capsys.readouterr()
    assert told.out == "" and "Step 2 (prune) failed" in told.err and str(out) in told.err
    sparse = out / "1-sparsify" / "weights" / "last.pt"
    written = sparse.stat().st_mtime_ns

    labels = Path(data).parent / "labels"
    labels.rename(labels.with_name("hidden"))
    assert main(ask) == 2, "without its data set the run does not go on"
    labels.with_name("hidden").rename(labels)
    (out / "2-prune").unlink()
    capsys.readouterr()

    assert main(ask) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert sparse.stat().st_mtime_ns == written and "Step 1 of 5" not in told.err, "what is done stays"
    assert [step["verb"] for step in result["steps"]] == ["sparsify", "prune", "finetune", "compare", "export"]
    assert not result["stopped"] and len(result["models"]) == 3
    opened = [open_checkpoint(model) for model in (base, *result["models"])]
    params = [each.params for each in opened]
    assert params[0] == params[1] > params[2] == params[3] == get_num_params(opened[-1].model)
    assert opened[-1].made["teacher"] == str(base.resolve())
    compared = result["steps"][3]["result"]
    assert [model["params"] for model in compared["models"]] == params and compared["reference"] == str(base)
    registered = [artefact for artefact in result["artefacts"] if artefact.get("register")]
    assert [artefact["parent"] for artefact in registered] == [str(base), *result["models"][:2]]
    assert Path(result["artefacts"][-1]["path"]).suffix == ".onnx" and Path(result["artefacts"][-1]["path"]).is_file()
    assert {"mAP50", "mAP50-95"} <= set(result["metrics"])

    assert main([*ask[:-1], "--device", "cpu"]) == 0, "a run that is done has nothing left to do"
    told = capsys.readouterr()
    assert "Parameters" in told.out and "5 export" in told.out and "of 5" not in told.err

    Path(result["artefacts"][-1]["path"]).unlink()
    assert main(ask) == 0, "what is gone is made again"
    assert "Step 5 of 5" in (again := capsys.readouterr()).err and "Step 4 of 5" not in again.err

    other = write_dense(tmp_path / "other.pt", model=short("detect 11"))
    for changed, word in ((["--weights", str(other)], "another model"), ([], "another recipe")):
        if not changed:
            path.write_text(recipe_to_yaml(chain()))
        assert main([*ask, *changed]) == 2
        assert word in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_training_goes_on_at_its_last_checkpoint(base, data, tmp_path):
    recipe = recipe_from_dict({"steps": [{"train": {**TINY, "epochs": 3}}, "val"], "device": "cpu"})

    class Killed(BaseException):
        pass

    def kill(event):
        if event["kind"] == "step" and event["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run_recipe(recipe, str(base), data, tmp_path / "run", report=kill)
    events = []
    result = run_recipe(recipe, str(base), data, tmp_path / "run", report=events.append)
    assert [event["epoch"] for event in events if event["kind"] == "epoch"] == [3]
    assert result["steps"][0]["result"]["epochs_done"] == 3
    assert result["metrics"] == result["steps"][1]["result"]["metrics"]


@pytest.mark.slow
def test_a_wish_to_stop_ends_the_run_and_is_no_end_for_ever(base, data, tmp_path):
    from engine.base.errors import StopRequested

    recipe = recipe_from_dict({"steps": [{"train": {**TINY, "epochs": 2}}, {"prune": {"prune_ratio": 0.3}}]})

    def stop(event):
        if event["kind"] == "epoch":
            raise StopRequested

    first = run_recipe(recipe, str(base), data, tmp_path / "run", "cpu", stop)
    assert first["stopped"] and [step["verb"] for step in first["steps"]] == ["train"]
    second = run_recipe(recipe, str(base), data, tmp_path / "run", "cpu")
    assert not second["stopped"] and second["steps"][0]["result"]["epochs_done"] == 2
    assert open_checkpoint(second["models"][-1]).params < open_checkpoint(base).params
    with pytest.raises(RecipeError, match="holds a run already"):
        run_recipe(recipe, str(base), data, tmp_path / "run", "cpu", resume=False)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"prune": {}}], "Step 1 (prune): Say what to prune to"),
        ([{"sparsify": {"sr": 0.1, "prune_ratio": 0.5}}], "Step 1 (sparsify): --prune-ratio does nothing"),
        (["finetune"], "Step 1 (finetune) needs a data set"),
        ([{"prune": {"prune_ratio": 0.3, "recalibrate": 4}}], "Step 1 (prune) needs a data set"),
        (["export", {"train": {"device": "banana"}}], "Step 2 (train): Device 'banana'"),
    ],
)
def test_what_would_fail_later_is_refused_before_the_first_step(steps, expected, base, tmp_path):
    with pytest.raises(RecipeError) as refusal:
        run_recipe(recipe_from_dict({"steps": steps}), str(base), save_dir=tmp_path / "run")
    assert expected in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_a_model_is_not_distilled_from_itself(base, data, tmp_path):
    recipe = recipe_from_dict({"steps": [{"finetune": {"distill": True}}]})
    with pytest.raises(RecipeError, match=r"Step 1 \(finetune\) would distil a model from itself"):
        run_recipe(recipe, str(base), data, tmp_path / "run", "cpu")
    scratch = recipe_from_dict({"steps": ["train", {"finetune": {"distill": True}}]})
    with pytest.raises(RecipeError, match="starts from none"):
        run_recipe(scratch, "yolov8n.yaml", data, tmp_path / "run", "cpu")


def test_a_damaged_or_foreign_state_is_a_sentence(base, tmp_path):
    recipe = recipe_from_dict({"steps": [{"prune": {"prune_ratio": 0.3}}]})
    for text in ("", "[]", '{"steps": [1]}', '{"steps": []}'):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(text)
        with pytest.raises(WorkbenchError, match="another folder"):
            run_recipe(recipe, str(base), save_dir=folder)
    assert not list(folder.glob("1-*"))
    shutil.rmtree(folder)


def test_a_run_goes_on_with_its_own_recipe_and_data_set_alone(base, data, tmp_path):
    def pruning(ratio: float) -> Recipe:
        return recipe_from_dict({"steps": [{"prune": {"prune_ratio": ratio}}]})

    run_recipe(pruning(0.3), str(base), data, tmp_path / "run", "cpu")
    noted = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(RecipeError, match="another recipe"):
        run_recipe(pruning(0.5), str(base), data, tmp_path / "run", "cpu")
    with pytest.raises(RecipeError, match="another data set"):
        run_recipe(pruning(0.3), str(base), str(tmp_path / "other.yaml"), tmp_path / "run", "cpu")
    assert (tmp_path / "run" / "run.json").read_text() == noted


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Say which recipe"),
        (["careful"], "--weights"),
        (["nowhere.yaml"], "There is no recipe nowhere.yaml"),
        (["careful", "--weights", "gone.pt"], "gone.pt"),
    ],
)
def test_mistakes_on_the_terminal_are_one_line(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and told.err.startswith("error: ")
    assert expected in told.err
    assert not (tmp_path / "runs").exists()


def test_the_shipped_recipes_are_listed(capsys):
    assert main(["run", "--list"]) == 0
    assert "careful" in (text := capsys.readouterr().out) and "sparsify -> prune" in text
    assert main(["run", "--list", "--json"]) == 0
    assert [recipe["id"] for recipe in json.loads(capsys.readouterr().out)] == list(shipped_names())


def test_shipped_recipes_pass_the_checks_of_a_run(base, data, tmp_path):
    from engine.verbs.recipe import Run

    for recipe in shipped_recipes():
        check_run(Run(recipe, str(base), data, "cpu", tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_no_recipe_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match=r"pipe\.yaml is no ordinary file"):
        load_recipe(tmp_path / "pipe.yaml")

"""Ultralytics' own arguments reach Ultralytics: on the terminal, in recipes, and again when a run goes on."""

import json
import shlex

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.utils import DEFAULT_CFG_DICT

from engine.base.errors import TrainingError, WorkbenchError
from engine.cli import main
from engine.recipes import load_recipe, recipe_from_job, recipe_to_yaml
from engine.settings import arguments
from engine.settings.arguments import argument_words, checked_arguments, merged_arguments, parsed_arguments
from engine.settings.command import command_of
from engine.settings.parser import read_terminal
from engine.settings.verb_facts import TAKES_ARGUMENTS
from engine.training import TrainSettings
from engine.training.sparsity import SparsitySettings, TrainingLength, images_taken, reach
from engine.verbs import run_verb
from engine.verbs.recipe import check_recipe
from engine.workspace.lineage import settings_of
from tests.runs import spec

LINE = "mosaic=0.5 freeze=10 fraction=0.3 single_cls=True cache=ram weight_decay=0.001"


def test_every_argument_of_this_ultralytics_is_an_option_or_decided_or_elsewhere_or_handed_on():
    known = set(DEFAULT_CFG_DICT) | {"save_dir"}
    assert set(arguments.DECIDED) | arguments.ELSEWHERE | arguments.VALIDATION <= known
    assert set(arguments.TRAINING_OPTIONS) <= {field for field in TrainSettings.__dataclass_fields__}
    assert not set(arguments.DECIDED) & arguments.ELSEWHERE
    handed_on = known - set(arguments.DECIDED) - arguments.ELSEWHERE
    for verb in TAKES_ARGUMENTS:
        for key in sorted(handed_on):
            default = DEFAULT_CFG_DICT[key]
            try:
                assert set(checked_arguments({key: default}, verb)) == {key}
            except TrainingError as error:
                assert (verb, key) == ("sparsify", "time") or (verb == "val" and "does nothing" in str(error)), error


def test_they_stand_anywhere_among_the_options_as_in_ultralytics():
    words = [
        "train",
        "--weights",
        "a.pt",
        "mosaic=0.5",
        "--data",
        "d.yaml",
        "freeze=10",
        "--epochs",
        "3",
        "cos_lr=True",
    ]
    told = read_terminal(words)
    assert told["ultralytics"] == ["mosaic=0.5", "freeze=10", "cos_lr=True"] and told["epochs"] == 3
    assert parsed_arguments(["freeze=[0,", "1,", "2]", "cache", "=", "ram"]) == {"freeze": [0, 1, 2], "cache": "ram"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mosaik=0.5", ("'mosaik' is not a valid YOLO argument", "did you mean mosaic")),
        ("mosaic=2", ("mosaic=2", "between 0.0 and 1.0")),
        ("mosaic=abc", ("invalid type",)),
        ("mosaic", ("KEY=VALUE",)),
        ("mosaic=1 mosaic=0", ("given twice",)),
        ("freeze=abc", ("freeze", "[0,1,2]")),
        ("cache=floppy", ("ram and disk",)),
        ("model=yolov8n.pt", ("weights",)),
        ("data=coco8.yaml", ("setting data",)),
        ("resume=True", ("setting resume",)),
        ("project=x", ("save_dir",)),
        ("save_dir=x", ("save_dir",)),
        ("exist_ok=True", ("exist_ok",)),
        ("distill_model=x.pt", ("teacher",)),
        ("save=False", ("always saved",)),
        ("half=True", ("export it to int8",)),
        ("tracker=botsort.yaml", ("video",)),
        ("format=onnx", ("prediction or export",)),
        ("label_smoothing=0.1", ("does nothing in this release",)),
        ("time=1", ("counted in epochs",)),
    ],
)
def test_what_ultralytics_or_the_method_refuses_is_one_sentence(line, words):
    with pytest.raises(WorkbenchError) as refused:
        checked_arguments(line, "sparsify")
    text = str(refused.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_an_argument_that_is_an_option_of_ours_is_that_option_and_not_given_twice():
    merged, rest = merged_arguments({"ultralytics": "epochs=5 imgsz=64 cos_lr=True mosaic=0 device=[0,1]"}, "train")
    assert (merged["epochs"], merged["imgsz"], merged["cos_lr"], merged["device"]) == (5, 64, True, "0,1")
    assert rest == {"mosaic": 0}
    with pytest.raises(TrainingError, match="epochs is set to 3 and given as epochs=5 as well"):
        merged_arguments({"epochs": 3, "ultralytics": ["epochs=5"]}, "train")


def test_a_refused_argument_leaves_no_folder_and_prints_one_line(dense, data, tmp_path, capsys):
    words = ["train", "--weights", str(dense), "--data", data, "--save-dir", str(tmp_path / "run")]
    for more in (["mosaik=0.5"], ["--epochs", "0"], ["--sr", "0.1"], ["epochs=0"]):
        assert main([*words, *more]) == 2
        shown = capsys.readouterr().err.strip().splitlines()
        assert len([line for line in shown if line.startswith("error: ")]) == 1 and len(shown) == 1, shown
        assert not (tmp_path / "run").exists()


def test_they_reach_ultralytics_are_recorded_and_kept_when_the_run_goes_on(dense, data, tmp_path):
    given = {"mosaic": 0.5, "freeze": 10, "weight_decay": 0.001, "close_mosaic": 0, "lrf": 0.5, "momentum": 0.9}
    asked = spec(dense, data, tmp_path / "run", epochs=1, ultralytics={**given, "cos_lr": True})
    result = run_verb("train", asked)
    args = yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())
    assert {key: args[key] for key in given} == given and args["cos_lr"] is True
    assert result["ultralytics"] == given
    noted = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert noted["extra"] == given
    with pytest.raises(TrainingError, match=r"other Ultralytics arguments \(mosaic=0.5"):
        run_verb("train", {**asked, "resume": True, "ultralytics": "mosaic=0.1"})
    again = run_verb("train", {**asked, "resume": True, "ultralytics": None})
    assert again["ultralytics"] == given


def test_single_cls_given_here_arrives_in_the_arguments_of_ultralytics(dense, data, tmp_path):
    settings = TrainSettings(str(dense), tmp_path, tmp_path / "run", 1, 64, extra=checked_arguments(LINE, "train"))
    sent = settings.overrides()
    assert sent["single_cls"] is True and sent["fraction"] == 0.3 and sent["cache"] == "ram"
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.as_dict()))).extra == settings.extra


def test_layers_that_are_frozen_cannot_be_sparse_trained(dense, data, tmp_path):
    asked = spec(dense, data, tmp_path / "run", epochs=1, ultralytics="freeze=10")
    with pytest.raises(TrainingError, match=r"freeze=10 holds \d+ layers still .*model\.0\.bn"):
        run_verb("sparsify", asked)
    assert not (tmp_path / "run").exists()


def test_rectangular_batches_need_one_process(dense, tmp_path):
    with pytest.raises(TrainingError, match="rect"):
        TrainSettings(str(dense), tmp_path, tmp_path, 1, 64, processes=2, extra={"rect": True})


def test_a_validation_takes_what_changes_it(dense, data):
    strict = run_verb(
        "val", {"weights": str(dense), "data": data, "device": "cpu", "ultralytics": "max_det=1 imgsz=64"}
    )
    assert strict["ultralytics"] == {"max_det": 1}
    with pytest.raises(TrainingError, match="mosaic does nothing in a validation"):
        run_verb("val", {"weights": str(dense), "data": data, "ultralytics": "mosaic=0.5"})


VALUES = st.one_of(
    st.booleans(), st.integers(0, 10**6), st.floats(0, 1), st.just("ram"), st.lists(st.integers(0, 30), min_size=1)
)


@given(st.dictionaries(st.sampled_from(["mosaic", "freeze", "cache", "rect", "lrf"]), VALUES, min_size=1))
def test_the_printed_command_repeats_them(values):
    command = command_of("train", {"weights": "a.pt", "data": "d.yaml", "ultralytics": values})
    assert parsed_arguments(read_terminal(shlex.split(command)[3:])["ultralytics"]) == values
    assert settings_of({"ultralytics": values, "x": {}}) == {"ultralytics": " ".join(argument_words(values))}


def test_a_recipe_holds_them_and_is_checked_before_its_first_step(dense, data, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("steps: [{train: {epochs: 1, sr: 0, ultralytics: {mosaic: 0.5, freeze: [0, 1]}}}]")
    recipe = load_recipe(path)
    assert recipe.steps[0].settings["ultralytics"] == {"mosaic": 0.5, "freeze": [0, 1]}
    again = tmp_path / "again.yaml"
    again.write_text(recipe_to_yaml(recipe))
    assert load_recipe(again).steps == recipe.steps
    job = {"weights": "a.pt", "ultralytics": {"mosaic": 0.5}}
    assert recipe_from_job("train", job).steps[0].settings == {"ultralytics": {"mosaic": 0.5}}
    check_recipe(recipe, str(dense), data, "cpu")
    for wrong, words in (("{mosaik: 0.5}", "did you mean mosaic"), ("{model: x.pt}", "weights")):
        path.write_text(f"steps: [{{train: {{ultralytics: {wrong}}}}}]")
        with pytest.raises(WorkbenchError, match=words):
            check_recipe(load_recipe(path), str(dense), data, "cpu")
    path.write_text("steps: [{prune: {prune_ratio: 0.5, ultralytics: {mosaic: 0.5}}}]")
    with pytest.raises(WorkbenchError, match="does not know"):
        load_recipe(path)
    path.write_text("steps: [{train: {ultralytics: mosaic}}]")
    with pytest.raises(WorkbenchError, match="a group of Ultralytics arguments"):
        load_recipe(path)


def test_a_strength_of_zero_is_plain_training_and_sparse_training_says_so(dense, data, tmp_path):
    assert read_terminal(["train", "--weights", "a.pt", "--data", "d", "--sr", "0"])["sr"] == 0
    result = run_verb("train", spec(dense, data, tmp_path / "run", epochs=1, sr=0.0))
    assert result["sparsity"] is None
    with pytest.raises(WorkbenchError, match=r"plain training \(train\)"):
        run_verb("sparsify", spec(dense, data, tmp_path / "no", sr=0.0))


def test_the_forecast_of_a_penalty_takes_the_given_schedule():
    settings = SparsitySettings("classic", strength=0.1)
    plain = TrainingLength(images=640, epochs=10, batch=16, nbs=16)
    farther = TrainingLength(images=640, epochs=10, batch=16, nbs=16, lrf=1.0, warmup=0.0)
    slower = TrainingLength(images=640, epochs=10, batch=16, nbs=16, momentum=0.5)
    assert reach(settings, slower).distance < reach(settings, plain).distance < reach(settings, farther).distance
    assert [images_taken(200, share) for share in (1.0, 0.3, 50, [0.5, 1.0], 1)] == [200, 60, 50, 100, 200]


@pytest.mark.parametrize("verb", ["train", "prune", "export", "report", "accuracy"])
def test_project_and_name_make_the_folder_as_in_ultralytics(verb, tmp_path, monkeypatch):
    from engine.cli.main import chosen_folder

    monkeypatch.chdir(tmp_path)
    needed = ["--data", "d.yaml"] if verb in ("train", "accuracy") else []

    def folder(*more: str) -> str:
        return chosen_folder(verb, read_terminal([verb, "--weights", "a.pt", *needed, *more])).as_posix()

    assert folder("--project", "p", "--name", "n") == "p/n"
    (tmp_path / "p" / "n").mkdir(parents=True)
    assert folder("--project", "p", "--name", "n") == "p/n-2"
    assert folder("--project", "p", "--name", "n", "--exist-ok") == "p/n"
    assert folder("--name", "n") == "runs/n" and folder("--project", "p") == f"p/{verb}"
    assert folder("--save-dir", "q") == "q" and folder() == f"runs/{verb}"
    if verb == "train":
        assert folder("--project", "p", "--name", "n", "--resume") == "p/n"
    with pytest.raises(WorkbenchError, match="not both"):
        folder("--save-dir", "q", "--name", "n")


def test_both_ways_to_name_the_folder_are_refused_on_one_line(capsys):
    assert main(["prune", "--weights", "a.pt", "--save-dir", "q", "--project", "p"]) == 2
    assert capsys.readouterr().err == "error: Say either --save-dir or --project and --name, not both.\n"

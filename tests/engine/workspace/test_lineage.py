"""Families of models, and commands that the terminal understands."""

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.settings.command import command_of
from engine.settings.parser import build_parser
from engine.workspace.figures import Figures
from engine.workspace.lineage import EXPORTED, family, settings_of
from engine.workspace.store import Job, Model
from tests.results import written

START = datetime(2025, 1, 1, tzinfo=UTC)


def model(model_id: str, parent: str | None = None, minute: int = 0, **changed) -> Model:
    given = {"made": {}, "kind": "imported", "params": 10, "metrics": {}, **changed}
    created = START + timedelta(minutes=minute)
    return Model(
        model_id, model_id.upper(), Path(f"/w/{model_id}.pt"), f"d{model_id}", parent, created_at=created, **given
    )


def export(job_id: str, of: str, state: str = "done", **changed) -> Job:
    result = json.dumps(written("export", precision="fp16", size_mb=3.0, **changed))
    return Job(
        job_id, "export", f"Export {of}", {"weights": f"/w/{of}.pt", "imgsz": 320}, state, None, None, START, START,
        START, result if state == "done" else None, None, of, False,
    )  # fmt: skip


FAMILY = [
    model("dense"),
    model("pruned", "sparse", 2, kind="pruned", made={"verb": "prune", "spec": {"prune_ratio": 0.5}}),
    model("sparse", "dense", 1, kind="sparse", made={"verb": "sparsify", "spec": {"weights": "/w/dense.pt"}}),
    model("other", None, 3),
    model("tuned", "pruned", 4, kind="finetuned"),
]
TUNED = {"tuned": Figures(metrics={"mAP50-95": 0.7}, shared=True, conditions="val split at 320 px")}


@pytest.mark.parametrize("at", ["dense", "sparse", "pruned", "tuned"])
def test_a_family_is_the_same_from_wherever_one_looks_and_children_follow_their_parents(at):
    members = family(FAMILY, [export("e", "tuned"), export("f", "tuned", "failed")], {}, at)
    assert [(member.key, member.depth) for member in members] == [
        ("dense", 0), ("sparse", 1), ("pruned", 2), ("tuned", 3), ("e", 4),
    ]  # fmt: skip
    assert [member.parent for member in members] == [None, "dense", "sparse", "pruned", "tuned"]
    assert (members[-1].kind, members[-1].name, members[-1].size_mb) == (EXPORTED, "ONNX fp16", 3.0)


def test_an_exported_file_tells_its_change_against_its_own_reference_and_that_it_suppresses_boxes():
    measured = {"mAP50-95": 0.553, "mAP50-95 fp32": 0.555}
    jobs = [export("e", "tuned", metrics=measured, nms=True), export("f", "tuned")]
    members = {member.key: member for member in family(FAMILY, jobs, TUNED, "dense")}
    assert members["tuned"].score == 0.7 and members["tuned"].change is None
    # On square images, of boxes above 0.25 alone, it is not the number that stands at the models.
    assert members["e"].score is None and members["e"].change == pytest.approx(-0.002)
    assert members["e"].name == "ONNX fp16 with NMS"
    assert members["f"].change is None and members["f"].name == "ONNX fp16"


def test_a_member_tells_its_accuracy_and_how_it_was_measured_where_that_differs():
    scores = {
        "pruned": Figures(metrics={"mAP50-95": 0.6}, shared=True, conditions="val split at 320 px"),
        "tuned": Figures(metrics={"mAP50-95": 0.1}, conditions="val split at 128 px"),
    }
    members = {member.key: member for member in family(FAMILY, [], scores, "dense")}
    assert (members["pruned"].score, members["tuned"].score, members["dense"].score) == (0.6, 0.1, None)
    assert (members["pruned"].conditions, members["tuned"].conditions) == ("", "val split at 128 px")
    assert members["pruned"].ratio == 0.5


def test_the_ratio_that_was_reached_counts_before_the_one_that_was_asked_for():
    made = {"verb": "prune", "spec": {"prune_ratio": 0.6}, "ratio_achieved": 0.57}
    (member,) = family([model("a", made=made)], [], {}, "a")
    assert member.ratio == 0.57


def test_a_model_whose_parent_was_deleted_is_a_root_and_tells_no_command_that_would_not_run():
    (orphan,) = family(
        [model("pruned", "gone", made={"verb": "prune", "spec": {"prune_ratio": 0.5}})], [], {}, "pruned"
    )
    assert orphan.parent is None
    assert command_of(orphan.verb, orphan.spec) is None


def test_a_model_that_a_page_pruned_is_repeated_from_its_parent_s_file():
    pruned = next(member for member in family(FAMILY, [], {}, "dense") if member.key == "pruned")
    assert command_of(pruned.verb, pruned.spec) == "python -m engine prune --weights /w/sparse.pt --prune-ratio 0.5"


def parsed(command: str) -> dict:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "engine"]
    return vars(build_parser().parse_args(words[3:]))


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: not text.startswith("-")
)
SPECS = st.one_of(
    st.fixed_dictionaries(
        {"verb": st.just("prune"), "weights": PATHS},
        optional={
            "prune_ratio": st.floats(0, 0.95), "round_to": st.integers(1, 32), "protect_residual": st.booleans(),
            "compensate": st.booleans(), "lock": st.lists(PATHS, max_size=3), "scope": st.just("uniform"),
            "layer_ratio": st.lists(PATHS.map("{}=0.5".format), max_size=2), "recalibrate": st.none(),
        },
    ),
    st.fixed_dictionaries(
        {"verb": st.sampled_from(["sparsify", "finetune", "train"]), "weights": PATHS, "data": PATHS},
        optional={
            "epochs": st.integers(1, 300), "lr0": st.floats(1e-6, 1), "device": st.sampled_from(["cpu", "0", "0,1"]),
            "chain": st.just({"base": "x.pt", "made": []}), "resume": st.just(True), "optimizer": st.just("SGD"),
        },
    ),
    st.fixed_dictionaries(
        {"verb": st.just("compare"), "weights": st.lists(PATHS, min_size=1, max_size=3), "data": PATHS},
        optional={"reference": PATHS, "split": st.just("test"), "workspace": PATHS},
    ),
    st.fixed_dictionaries(
        {"verb": st.just("export"), "weights": PATHS},
        optional={"opset": st.none(), "dynamic": st.booleans(), "simplify": st.booleans(), "format": st.just("onnx")},
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(SPECS)
def test_the_terminal_reads_the_command_as_the_settings_it_was_made_from(spec):
    verb = spec.pop("verb")
    told = parsed(command_of(verb, spec))
    assert told["verb"] == verb
    neutral = {"protect_residual": False, "dynamic": False, "compensate": True, "simplify": True}
    for key in spec.keys() - {"chain", "resume", "workspace"}:
        if spec[key] in (None, []) or spec[key] is neutral.get(key):
            assert told[key] in (None, False, [])
        else:
            assert told[key] == spec[key], key
    assert not told.get("resume")


@pytest.mark.parametrize("name", ["-odd.pt", "two words.pt", "it's.pt", "$(reboot).pt", "a;b.pt", "ü.pt", "--data"])
def test_odd_file_names_reach_the_command_whole(name):
    assert parsed(command_of("val", {"weights": name, "data": name}))["weights"] == name
    compared = parsed(command_of("compare", {"weights": [name, "b.pt"], "data": "d.yaml"}))["weights"]
    assert [Path(each) for each in compared] == [Path(name), Path("b.pt")]


def test_what_makes_no_command_is_none():
    assert command_of("import", {"file": "x.pt"}) is None
    assert command_of(None, {}) is None
    assert command_of("train", {"weights": "x.pt"}) is None, "without a data set it would not run"


def test_settings_are_words_without_what_says_how_the_job_ran():
    spec = {"prune_ratio": 0.5, "dynamic": False, "lock": ["a", "b"], "data": None, "chain": {}, "resume": True}
    assert settings_of(spec) == {"prune ratio": "0.5", "dynamic": "no", "lock": "a, b"}

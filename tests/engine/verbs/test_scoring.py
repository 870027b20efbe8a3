"""Scores of a request: the criterion it comes to, what that says of the data set, and where it is kept."""

from pathlib import Path

import pytest
import torch

from engine import verbs
from engine.base.errors import DatasetError, PlanError
from engine.checkpoints.checkpoint import open_checkpoint
from engine.recipes import recipe_from_dict
from engine.settings.choices import DATA_CRITERION
from engine.verbs.recipe import check_recipe
from tests.models import write_checkpoint
from tests.runs import write_dense
from tests.shapes import draw_shapes


def scored_by(verb, told=None, **spec):
    """Return the criterion that a verb names, and its result."""
    events = []
    result = verbs.run_verb(verb, {"prune_ratio": 0.5, "score_images": 4, **spec}, events.append)
    said = [event["text"] for event in events if event["kind"] == "status" and "Scoring" in event["text"]]
    return said[0].split()[3] if said else "gamma", result


@pytest.fixture(scope="module")
def never_sparse(tmp_path_factory):
    """A model whose gammas are all near 1."""
    path = write_dense(tmp_path_factory.mktemp("model") / "dense.pt")
    model = open_checkpoint(path).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bn.weight"):
                parameter.copy_(1 + 0.1 * torch.rand_like(parameter))
    return write_checkpoint(model, path)


@pytest.fixture(scope="module")
def sparse(never_sparse, tmp_path_factory):
    """The same with a fifth of its gammas at zero."""
    model = open_checkpoint(never_sparse).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bn.weight"):
                parameter[: len(parameter) // 5] = 0
    return write_checkpoint(model, tmp_path_factory.mktemp("model") / "sparse.pt")


def test_a_model_that_was_never_sparse_trained_is_scored_on_the_data_set_where_one_is_given(never_sparse, data):
    criterion, result = scored_by("preview", weights=str(never_sparse), data=data)
    named, same = scored_by("preview", weights=str(never_sparse), data=data, criterion=DATA_CRITERION)
    assert criterion == named == DATA_CRITERION and result == same
    by_gamma, other = scored_by("preview", weights=str(never_sparse))
    assert by_gamma == "gamma" and other != result
    assert scored_by("preview", weights=str(never_sparse), data=data, criterion="gamma") == ("gamma", other)


def test_gamma_stays_the_criterion_of_a_sparse_trained_model(sparse, data):
    assert scored_by("preview", weights=str(sparse), data=data)[0] == "gamma"
    assert scored_by("preview", weights=str(sparse), data=data, criterion="fisher")[0] == "fisher"


def test_a_data_set_that_does_not_fit_is_passed_over_unless_the_criterion_is_named(never_sparse, tmp_path):
    other = str(draw_shapes(tmp_path / "set", "detect"))  # two classes
    assert scored_by("preview", weights=str(never_sparse), data=other)[0] == "gamma"
    with pytest.raises(DatasetError, match="classes"):
        scored_by("preview", weights=str(never_sparse), data=other, criterion="taylor")
    for label in (tmp_path / "set" / "labels").iterdir():
        label.unlink()
    assert scored_by("preview", weights=str(never_sparse), data=other)[0] == "gamma"


def test_what_cannot_be_scored_goes_by_gamma_unless_the_criterion_is_named(never_sparse, data, monkeypatch):
    """Replaces the loss by one that needs texts, as that of open-vocabulary models does."""
    monkeypatch.setattr("ultralytics.nn.tasks.DetectionModel.loss", lambda model, batch: batch["txt_feats"])
    spec = {"weights": str(never_sparse), "prune_ratio": 0.5, "data": data}
    told = []
    result = verbs.run_verb("preview", spec, told.append)
    assert any("Scoring by gamma after all" in event.get("text", "") for event in told)
    assert result == verbs.run_verb("preview", {**spec, "criterion": "gamma"})
    with pytest.raises(PlanError, match="loss cannot be computed"):
        verbs.run_verb("preview", {**spec, "criterion": "fisher"})


def test_a_criterion_that_looks_at_images_asks_for_a_data_set(never_sparse, tmp_path):
    with pytest.raises(PlanError, match=r"taylor looks at images; say of which data set \(--data\)"):
        scored_by("preview", weights=str(never_sparse), criterion="taylor")
    step = {"prune": {"prune_ratio": 0.3, "criterion": "taylor"}}
    with pytest.raises(verbs.recipe.RecipeError, match=r"Step 1 \(prune\) needs a data set"):
        check_recipe(recipe_from_dict({"steps": [step]}), str(never_sparse), None, None)


def test_what_preview_says_is_what_prune_writes_and_the_file_says_how(never_sparse, data, tmp_path):
    spec = {"weights": str(never_sparse), "data": data}
    shown = scored_by("preview", **spec)[1]
    criterion, pruned = scored_by("prune", save_dir=str(tmp_path), **spec)
    assert criterion == DATA_CRITERION and (pruned.params, pruned.layers) == (shown.params, shown.layers)
    made = open_checkpoint(pruned.pruned).made["importance"]
    assert made["criterion"] == DATA_CRITERION and len(made["images"]) == 64


def test_a_workspace_keeps_scores_and_the_terminal_does_not(never_sparse, data, tmp_path):
    spec = {"weights": str(never_sparse), "data": data, "criterion": "taylor"}
    first = scored_by("preview", workspace=str(tmp_path), **spec)
    (kept,) = Path(tmp_path).rglob("*.npy")
    assert kept.parent.name == "scores" and first[0] == "taylor"
    criterion, again = scored_by("preview", workspace=str(tmp_path), **spec)
    assert criterion == "gamma", "nothing is scored a second time"
    assert again == first[1]
    scored_by("preview", workspace=str(tmp_path), **{**spec, "score_images": 5})
    assert len(list(Path(tmp_path).rglob("*.npy"))) == 2


def test_the_curve_of_accuracy_is_measured_by_the_same_scores(never_sparse, data, tmp_path):
    asked = {"weights": str(never_sparse), "data": data, "ratios": [0.5], "images": 2, "imgsz": 64, "recalibrate": 0}
    criterion, curve = scored_by("accuracy", save_dir=str(tmp_path), **asked)
    assert criterion == DATA_CRITERION
    assert curve.points[0].params == scored_by("preview", weights=str(never_sparse), data=data)[1].params

"""Numbers and sentences."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.jobs.live import progress_text
from app.jobs.starting import loss_series, metric_series
from app.plan.tables import layer_table, limit_sentence, max_ratio_sentence
from app.words import format
from engine.jobs import Progress
from engine.settings.results import Preview
from engine.workspace.store import Model
from tests.app.previews import layer_preview


def preview(**changed) -> Preview:
    values = {
        "params_before": 3_011_433, "params": 867_543, "gflops_before": 8.2, "gflops": 3.1, "imgsz": 640,
        "ratio_requested": 0.5, "ratio_achieved": 0.499, "max_ratio": 0.58, "limiting_layer": "model.22.cv2.1.0.bn",
        "ceiling_ratio": 0.95, "channels_before": 5200, "channels": 2600, "layers": (),
    }  # fmt: skip
    return Preview(**{**values, **changed})


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (8.4, "8 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations(seconds, text):
    assert format.duration(seconds) == text


@pytest.mark.parametrize(
    ("change", "less_is_better", "looks"),
    [(-0.5, True, ("green", "down")), (-0.5, False, ("red", "down")), (0.1, False, ("green", "up")),
     (0.1, True, ("red", "up")), (0.0002, True, ("gray", "off"))],
)  # fmt: skip
def test_a_change_is_green_where_it_is_better_whatever_sign_stands_before_it(change, less_is_better, looks):
    told = format.delta("\u2212x", change, less_is_better=less_is_better)
    assert (told["delta_color"], told["delta_arrow"]) == looks


def test_moments_are_told_relative_to_now():
    now = datetime(2030, 1, 2, 12, tzinfo=UTC)
    assert format.ago(now - timedelta(seconds=5), now) == "just now"
    assert format.ago(now - timedelta(minutes=7), now) == "7 min ago"
    assert format.ago(now - timedelta(hours=3), now) == "3 h ago"
    assert format.ago(now - timedelta(days=3), now) == "30 Dec 2029"


def test_names_are_not_formatting():
    assert format.plain("my_*best*_[1].pt") == r"my\_\*best\*\_\[1\].pt"


def test_the_limiting_layer_is_named():
    assert "model.22.cv2.1.0.bn" in max_ratio_sentence(preview())
    assert "No layer" in max_ratio_sentence(preview(limiting_layer=""))
    assert "floors hold" in limit_sentence(preview(ratio_requested=0.7), floor=4)
    assert "cannot be reached" in limit_sentence(preview(ratio_requested=0.95, ceiling_ratio=0.9), floor=4)


def test_the_table_says_what_shapes_a_layer():
    layers = [
        layer_preview("a", 16, 16, prunable=0, reason="detection output"),
        layer_preview("b", 16, 10, prunable=8, reason="attention", bounds=("coupled",)),
        layer_preview("c", 16, 4, at_floor=True, bounds=("floor",)),
        layer_preview("d", 16, 8),
    ]
    table = layer_table(layers)
    assert list(table["Kept"]) == [1.0, 0.625, 0.25, 0.5]
    assert list(table["What shapes it"]) == [
        "detection output",
        "8 of them: attention; tied to other layers",
        "at its floor",
        "",
    ]


def test_progress_in_words():
    at = Progress(percent=40, epoch=2, epochs=5, step=3, steps=12, seconds_left=75)
    assert progress_text(at) == "Epoch 2 of 5 · step 3 of 12 · 1 min 15 s left"
    assert progress_text(Progress(epoch=1, epochs=1, step=3, steps=12)) == "step 3 of 12"
    assert progress_text(Progress(status="Exporting")) == "Exporting"


def test_epochs_become_series():
    epochs = [
        {"epoch": 1, "metrics": {"mAP50": 0.1}, "losses": {"train/box_loss": 2.0}},
        {"epoch": 2, "metrics": {"mAP50": 0.2}, "losses": {"train/box_loss": 1.0}},
    ]
    assert metric_series(epochs, ("mAP50", "recall")) == {"mAP50": [(1, 0.1), (2, 0.2)]}
    assert loss_series(epochs) == {"train/box_loss": [(1, 2.0), (2, 1.0)]}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"verb": "prune", "spec": {"prune_ratio": 0.5}, "ratio_achieved": 0.499}, "Pruned at ratio 0.50"),
        ({"verb": "prune", "spec": {"target_latency": 8.0}, "ratio_achieved": 0.62}, "Pruned at ratio 0.62"),
        ({"verb": "prune", "spec": {"prune_ratio": 0.3}}, "Pruned at ratio 0.30"),
        ({"verb": "finetune", "spec": {"epochs": 30}, "epochs_done": 12}, "Fine-tuned for 12 epochs"),
        ({"verb": "finetune", "spec": {"epochs": 30}}, "Fine-tuned for 30 epochs"),
    ],
)
def test_a_model_tells_what_was_really_done_to_make_it(made, words):
    now = datetime(2030, 1, 2, tzinfo=UTC)
    model = Model("a", "A", Path("a.pt"), "d", None, made, "pruned", None, {}, now)
    assert format.made_by(model) == words


@pytest.mark.parametrize("name", [":red[hot]", ":material/home: mine", "http://x.example/best.pt"])
def test_names_are_neither_colours_nor_icons_nor_links(name):
    said = format.plain(name)
    assert not any(mark in said for mark in (":red", ":material", "://"))
    assert said.replace("\u2060", "").replace("\\", "") == name


def test_models_of_one_name_get_labels_of_their_own():
    assert format.distinct_labels({"a": "best", "b": "best", "c": "last"}) == {
        "a": "best (1)",
        "b": "best (2)",
        "c": "last",
    }

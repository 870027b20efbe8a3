"""Widgets that are made from the table of settings hold its bounds, and start from its defaults."""

import pytest
from annotated_types import Ge, Gt, Le, Lt

from app.words.fields import choice, labelled, numeric, setting
from engine.settings.fields import fields_of
from engine.settings.requests import REQUESTS

NUMBERS = [
    pytest.param(verb, name, id=f"{verb} {name}")
    for verb, request in REQUESTS.items()
    for name, field in fields_of(request).items()
    if field.kind.name in ("whole number", "number", "pixels", "images") and not field.several
]


@pytest.mark.parametrize(("verb", "name"), NUMBERS)
def test_a_widget_offers_nothing_that_the_verb_would_refuse(verb, name):
    field, told = setting(verb, name), numeric(setting(verb, name))
    for end in ("min_value", "max_value"):
        if end in told:
            assert field.checked(told[end]) == told[end]
    low, high = field.bound(Ge), field.bound(Le)
    assert low is None or told["min_value"] >= low, "a widget without a smallest value offers all of them"
    assert high is None or told["max_value"] <= high
    assert field.bound(Lt) is None, "no widget can leave out its end"
    if field.bound(Gt) is not None and "min_value" in told:
        assert told["min_value"] > field.bound(Gt)
    if field.default is not None and name != "sr":
        assert told.get("min_value", field.default) <= field.default <= told.get("max_value", field.default)
    assert len({type(told[key]) for key in ("min_value", "max_value", "step") if key in told}) <= 1


def test_help_is_whole_sentences_and_a_choice_starts_from_the_default():
    assert labelled(setting("train", "epochs")) == {"label": "Epochs", "help": "Passes over the training images."}
    assert labelled(setting("prune", "max_params"))["help"].startswith("At most so many parameters. The plan")
    shown = choice(setting("sparsify", "method"))
    assert shown["options"][shown["index"]] == "targeted"
    for request in REQUESTS.values():
        for field in fields_of(request).values():
            assert field.sentence[0] == field.sentence[0].upper() and field.sentence.endswith(".")

"""Events and whoever receives them."""

import pytest

from engine.base.errors import StopRequested
from engine.base.events import only, status_event, step_event


def test_a_step_without_epochs_is_told_as_one_epoch():
    assert step_event(3, 8) == {"kind": "step", "epoch": 1, "epochs": 1, "step": 3, "steps": 8, "losses": {}}
    told = step_event(3, 8, epoch=2, epochs=5, losses={"box": 0.5})
    assert (told["epoch"], told["epochs"], told["losses"]) == (2, 5, {"box": 0.5})


def test_only_one_kind_is_passed_on_and_a_wish_to_stop_comes_back():
    told = []
    report = only("status", told.append)
    report(step_event(1, 2))
    report(status_event("Working"))
    assert told == [{"kind": "status", "text": "Working"}]

    def stop(event):
        raise StopRequested

    with pytest.raises(StopRequested):
        only("step", stop)(step_event(1, 2))

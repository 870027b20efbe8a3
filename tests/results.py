"""Results of every verb as version 0.2.0 wrote them, to start from where a test needs one."""

import copy
import json
from pathlib import Path
from typing import Any

from engine.settings.results import Measured

WRITTEN = json.loads(Path(__file__).with_name("data").joinpath("results-0.2.0.json").read_text(encoding="utf-8"))
"Verb -> its result; lists of layers and blocks are cut to two."


def written(verb: str, **changed: Any) -> dict[str, Any]:
    """Return the result of a verb with some values changed."""
    return {**copy.deepcopy(WRITTEN[verb]), **changed}


def timing(**changed: Any) -> dict[str, Any]:
    """Return what ``latency`` tells of one model, with some values changed."""
    return {**WRITTEN["latency"]["results"][0], **changed}


def compared(**changed: Any) -> dict[str, Any]:
    """Return what ``compare`` tells of one model, with some values changed."""
    return {**copy.deepcopy(WRITTEN["compare"]["models"][0]), **changed}


def measurement(**changed: Any) -> dict[str, Any]:
    """Return what the cache of a workspace keeps of one validation, with some values changed."""
    return {**{name: copy.deepcopy(WRITTEN["val"][name]) for name in Measured.model_fields}, **changed}

"""What the files of a workspace tell of themselves (``engine.profile.facts``), kept in its database.

So a table of models asks the database once, and the record of a model still tells what it was after its file is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from engine.base.errors import CheckpointError, StorageError
from engine.profile.facts import CheckpointFacts
from engine.workspace.profiles import profile_of
from engine.workspace.store import Model, Store

_FACTS = TypeAdapter(CheckpointFacts)


def facts_of(store: Store, model: Model) -> CheckpointFacts:
    """Return what a model's file tells: as the workspace keeps it, else read once and kept.

    Raises:
        CheckpointError: The file is gone or cannot be opened, and nothing is kept of it.
    """
    return _kept(store, [model]).get(model.digest) or _read_and_keep(store, model)


def known_facts(store: Store, models: Iterable[Model]) -> dict[str, CheckpointFacts]:
    """Return digest -> what the file tells, without those that are gone or cannot be opened and of which none is kept.

    What is not kept yet is read, about a second a file, and kept.
    """
    models = list(models)
    facts = _kept(store, models)
    for model in models:
        if model.digest not in facts:
            with contextlib.suppress(OSError, CheckpointError, StorageError):
                facts[model.digest] = _read_and_keep(store, model)
    return facts


def _kept(store: Store, models: Iterable[Model]) -> dict[str, CheckpointFacts]:
    """Return digest -> what is kept, without what another version kept, which told something else."""
    facts = {}
    for digest, told in store.file_facts(model.digest for model in models).items():
        with contextlib.suppress(ValidationError):
            facts[digest] = _FACTS.validate_python({"digest": digest, **told})
    return facts


def _read_and_keep(store: Store, model: Model) -> CheckpointFacts:
    facts = profile_of(store, model).facts
    if facts.digest == model.digest:  # else it was changed by hand since it was registered
        told = _FACTS.dump_python(facts, mode="json")
        store.keep_file_facts(told.pop("digest"), told)
    return facts

"""Which data set a model was made with."""

from __future__ import annotations

from engine.workspace.store import Model, Store


def family_data(store: Store, model: Model) -> str | None:
    """Return the data set of a model: what it or its nearest ancestor was trained on, else what a job of it used last.

    'demo' for the demo's family.
    """
    for ancestor in reversed(store.lineage(model.id)):
        if data := (ancestor.made.get("spec") or {}).get("data"):
            return str(data)
        if ancestor.kind == "demo":
            return "demo"
    used = (job.spec.get("data") for job in store.jobs() if job.model_id == model.id)
    return next(filter(None, used), None)

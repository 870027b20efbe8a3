"""Layers of a preview, with defaults for what a test does not care about."""

from engine.settings.results import PlannedLayer


def layer_preview(
    name: str,
    before: int,
    after: int,
    *,
    prunable: int | None = None,
    reason: str = "",
    at_floor: bool = False,
    bounds: tuple[str, ...] = (),
) -> PlannedLayer:
    """Return a layer whose channels may all be removed unless ``prunable`` says otherwise."""
    return PlannedLayer(
        name=name,
        before=before,
        after=after,
        prunable=before if prunable is None else prunable,
        reason=reason,
        at_floor=at_floor,
        bounds=bounds,
    )

"""The profile of a checkpoint, and the file that holds one.

Whoever reads such a file believes nothing of it: the document is checked by a schema, every index against what it
counts in, every array against its shape. So an answer of a child process that opened a hostile file, and a file that
was damaged on disk, are refused in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from engine.base.errors import PlanError, StorageError
from engine.base.imgsz import ImageSize
from engine.profile.convolutions import ConvolutionRun
from engine.profile.cost import Operations
from engine.profile.facts import CheckpointFacts, Text
from engine.profile.gammas import LayerGammas
from engine.profile.graph import AttributeUpdate, ChannelGraph, EqualCount, Layer, Product

VERSION = 1
"Of what is kept; one of another version is made again."
_MOST_GROUPS = 2_000_000
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class SizeCounts:
    """What a model computes at one image size."""

    imgsz: ImageSize
    operations: Operations | None
    "None where it does not run at that size."
    convolutions: tuple[ConvolutionRun, ...] = ()
    refusal: Text = ""
    "Why it does not run, in a sentence."


@dataclass(frozen=True)
class Profile:
    """Everything that pages, solver, cost and component need of a checkpoint, as plain values and arrays."""

    facts: CheckpointFacts
    gammas: tuple[LayerGammas, ...]
    "Of every BatchNorm layer with learned gammas, in the model's order."
    parameters: Mapping[str, int]
    "Name -> elements of every parameter."
    graph: ChannelGraph | None = field(repr=False)
    "None where the model cannot be traced."
    scores: Mapping[str, tuple[np.ndarray, ...]] = field(repr=False)
    "Criterion -> for each layer of the graph the (C,) scores of its channels; of criteria that need no images."
    sizes: tuple[SizeCounts, ...] = field(repr=False)
    "At the image sizes that were asked for so far."
    untraced: Text = ""
    "Why there is no graph, in a sentence."

    def at(self, imgsz: ImageSize) -> SizeCounts | None:
        """Return what was counted at an image size, None where nothing was."""
        return next((counts for counts in self.sizes if counts.imgsz == imgsz), None)

    def with_size(self, counts: SizeCounts) -> Profile:
        """Return the profile with what was counted at one image size more."""
        return replace(self, sizes=(*(known for known in self.sizes if known.imgsz != counts.imgsz), counts))

    def require_graph(self) -> ChannelGraph:
        """Return the channel graph. Raises PlanError where the model cannot be traced."""
        if self.graph is None:
            raise PlanError(self.untraced)
        return self.graph


_Index = Annotated[int, Field(ge=-1)]
_Count = Annotated[int, Field(ge=0, le=2**62)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _LayerText(_Part):
    name: Text
    reason: Annotated[str, Field(max_length=4000)]


class _EqualCountText(_Part):
    pieces: NonNegativeInt
    multiplicities: tuple[PositiveInt, ...]
    reason: Text


class _Graph(_Part):
    """A channel graph without its arrays."""

    group_count: Annotated[int, Field(ge=1, le=_MOST_GROUPS)]
    layers: tuple[_LayerText, ...]
    equal_counts: tuple[_EqualCountText, ...]
    tensor_axes: dict[Text, tuple[_Index, ...]]
    module_axes: dict[Text, NonNegativeInt]
    attributes: tuple[AttributeUpdate, ...]
    products: tuple[Product, ...]
    normalised: dict[Text, Text]
    notes: tuple[Annotated[str, Field(max_length=4000)], ...]


class _Document(_Part):
    """A profile without its arrays."""

    version: int
    facts: CheckpointFacts
    gammas: tuple[Text, ...]
    parameters: dict[Text, _Count]
    graph: _Graph | None
    scores: tuple[Text, ...]
    sizes: tuple[SizeCounts, ...]
    untraced: Text


_PROFILE, _SIZE = TypeAdapter(_Document), TypeAdapter(SizeCounts)


def packed(profile: Profile) -> tuple[Any, Arrays]:
    """Return a profile as a JSON-able document and arrays, as ``engine.base.arrays`` writes them."""
    graph, arrays = profile.graph, _rows("gammas", [layer.values for layer in profile.gammas])
    for name, by_layer in profile.scores.items():
        arrays |= _rows(f"scores {name}", by_layer)
    document = _Document(
        version=VERSION,
        facts=profile.facts,
        gammas=tuple(layer.name for layer in profile.gammas),
        parameters=dict(profile.parameters),
        graph=None if graph is None else _graph_text(graph),
        scores=tuple(profile.scores),
        sizes=profile.sizes,
        untraced=profile.untraced,
    )
    return document.model_dump(mode="json"), arrays if graph is None else {**arrays, **_graph_arrays(graph)}


def unpacked(document: Any, arrays: Arrays) -> Profile:
    """Return the profile that ``packed`` made a document and arrays of.

    Raises:
        StorageError: They are none, of another version, or do not fit together.
    """
    try:
        told = _PROFILE.validate_python(document)
        if told.version != VERSION:
            raise ValueError(f"version {told.version}")
        gammas = _unpacked_rows("gammas", arrays, len(told.gammas), np.float64)
        graph = None if told.graph is None else _graph(told.graph, arrays)
        widths = [] if graph is None else [layer.channels for layer in graph.layers]
        scores = {
            name: _of_widths(_unpacked_rows(f"scores {name}", arrays, len(widths), np.float64), widths)
            for name in told.scores
        }
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise StorageError("What was read of the checkpoint is damaged; open it again.") from error
    return Profile(
        facts=told.facts,
        gammas=tuple(LayerGammas(name, values) for name, values in zip(told.gammas, gammas, strict=True)),
        parameters=told.parameters,
        graph=graph,
        scores=scores,
        sizes=told.sizes,
        untraced=told.untraced,
    )


def packed_size(counts: SizeCounts) -> Any:
    """Return what was counted at one image size as JSON-able values."""
    return asdict(counts)


def unpacked_size(document: Any) -> SizeCounts:
    """Return what ``packed_size`` packed. Raises StorageError where it is none."""
    try:
        return _SIZE.validate_python(document)
    except ValidationError as error:
        raise StorageError("What was counted of the checkpoint is damaged; try again.") from error


def _graph_text(graph: ChannelGraph) -> _Graph:
    return _Graph(
        group_count=graph.group_count,
        layers=tuple(_LayerText(name=layer.name, reason=layer.reason) for layer in graph.layers),
        equal_counts=tuple(
            _EqualCountText(pieces=len(each.pieces), multiplicities=each.multiplicities, reason=each.reason)
            for each in graph.equal_counts
        ),
        tensor_axes=graph.tensor_axes,
        module_axes=graph.module_axes,
        attributes=graph.attributes,
        products=graph.products,
        normalised=graph.normalised,
        notes=tuple(note[:4000] for note in graph.notes),
    )


def _graph_arrays(graph: ChannelGraph) -> Arrays:
    pieces = [piece for constraint in graph.equal_counts for piece in constraint.pieces]
    rows = {"layers": [layer.groups for layer in graph.layers], "axes": graph.axes, "pieces": pieces}
    packed_rows = {name: array for key, each in rows.items() for name, array in _rows(key, each).items()}
    return {"residual": graph.residual, **packed_rows}


def _graph(told: _Graph, arrays: Arrays) -> ChannelGraph:
    groups = told.group_count
    layers = _unpacked_rows("layers", arrays, len(told.layers), np.int64, below=groups)
    axes = _unpacked_rows("axes", arrays, None, np.int64, below=groups)
    counts = [each.pieces for each in told.equal_counts]
    pieces = iter(_unpacked_rows("pieces", arrays, sum(counts), np.int64, below=groups))
    residual = arrays["residual"]
    if residual.shape != (groups,) or residual.dtype != bool:
        raise ValueError("residual")
    used: Iterable[int] = (
        *(axis for dims in told.tensor_axes.values() for axis in dims),
        *told.module_axes.values(),
        *(update.axis for update in told.attributes),
        *(axis for product in told.products for axis in product.axes),
    )
    if any(not -1 <= axis < len(axes) for axis in used) or any(
        len(each.multiplicities) != each.pieces for each in told.equal_counts
    ):
        raise ValueError("axes")
    return ChannelGraph(
        group_count=groups,
        layers=tuple(Layer(text.name, row, text.reason) for text, row in zip(told.layers, layers, strict=True)),
        residual=residual,
        equal_counts=tuple(
            EqualCount(tuple(next(pieces) for _ in range(each.pieces)), each.multiplicities, each.reason)
            for each in told.equal_counts
        ),
        axes=tuple(axes),
        tensor_axes=told.tensor_axes,
        module_axes=told.module_axes,
        attributes=told.attributes,
        products=told.products,
        normalised=told.normalised,
        notes=told.notes,
    )


def _rows(name: str, rows: Sequence[np.ndarray]) -> Arrays:
    """Return rows of different lengths as two arrays: their values one after another, and their lengths."""
    values = np.concatenate(rows) if len(rows) else np.zeros(0)
    return {name: values, f"{name} lengths": np.array([len(row) for row in rows], dtype=np.int64)}


def _unpacked_rows(
    name: str, arrays: Arrays, count: int | None, dtype: type, *, below: int | None = None
) -> list[np.ndarray]:
    """Return the rows that ``_rows`` packed.

    Args:
        name: Of the arrays.
        arrays: By name.
        count: How many rows there are, where it is known.
        dtype: Of the values.
        below: The values are from 0 to one less.
    """
    values, lengths = arrays[name], arrays[f"{name} lengths"]
    if lengths.ndim != 1 or lengths.dtype != np.int64 or (count is not None and len(lengths) != count):
        raise ValueError(name)
    if (
        values.ndim != 1
        or (len(values) and values.dtype != dtype)
        or (lengths < 0).any()
        or lengths.sum() != len(values)
    ):
        raise ValueError(name)
    if below is not None and len(values) and not 0 <= values.min() <= values.max() < below:
        raise ValueError(name)
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _of_widths(rows: list[np.ndarray], widths: list[int]) -> tuple[np.ndarray, ...]:
    if [len(row) for row in rows] != widths or any((row < 0).any() for row in rows):
        raise ValueError("scores")
    return tuple(rows)

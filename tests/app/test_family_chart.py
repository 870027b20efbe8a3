from datetime import UTC, datetime

import pytest

from app.charts.family import card_text, family_tree
from engine.workspace.lineage import EXPORTED, Member


def member(key: str, parent: str | None, depth: int, **changed) -> Member:
    nothing = dict.fromkeys(("verb", "params", "gflops", "size_mb", "score", "ratio"))
    given = {**nothing, "kind": "imported", "name": key.title(), **changed}
    return Member(key, parent, depth, spec={}, created_at=datetime(2025, 1, 1, tzinfo=UTC), **given)


@pytest.mark.parametrize("dark", [False, True])
def test_every_member_is_a_card_in_its_order_and_children_hang_on_their_parents(dark):
    members = [member("dense", None, 0), member("small", "dense", 1), member("file", "small", 2, kind=EXPORTED)]
    figure = family_tree(members, "small", dark=dark)
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert [entry[0] for entry in bars.customdata] == ["dense", "small", "file"] and list(bars.base) == [0, 1, 2]
    assert len({low + length for low, length in zip(bars.base, bars.x, strict=True)}) == 1, "they end in one line"
    assert sum(trace.mode == "lines" for trace in figure.data if trace.type == "scatter") == 2
    assert list(bars.marker.line.width) == [1, 2, 1]


def test_a_card_tells_the_numbers_that_are_known():
    pruned = member("small", None, 0, kind="pruned", params=922_141, score=0.7164, ratio=0.5, name="A <b>")
    assert card_text(pruned) == "<b>A &lt;b></b><br>Pruned · ratio 0.50 · 922 k parameters · mAP50-95 0.716"
    assert card_text(member("file", None, 0, kind=EXPORTED, size_mb=2.71)) == "<b>File</b><br>Exported · 2.71\u00a0MB"


@pytest.mark.parametrize(
    ("change", "text"), [(-0.0021, "−0.002"), (0.0124, "+0.012"), (-0.0003, "±0.000"), (0.0, "±0.000")]
)
def test_the_card_of_an_exported_file_tells_what_the_export_changed(change, text):
    card = card_text(member("file", None, 0, kind=EXPORTED, size_mb=2.71, change=change))
    assert card == f"<b>File</b><br>Exported · 2.71\u00a0MB · mAP50-95 {text} by export"

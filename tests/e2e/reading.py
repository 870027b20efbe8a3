"""What a page shows, as values: tables, figures, pictures."""

from __future__ import annotations

import base64
from typing import Any

import pytest

_LINES = """table => {
  const words = cells => [...cells].map(cell => cell.textContent);
  const names = words(table.querySelectorAll("th"));
  return [...table.querySelectorAll("tbody tr")].map(row => [names, words(row.children)]);
}"""


def table(page, column: str, ready=lambda lines: True) -> list[dict[str, str]]:
    """Return the lines of the table that has a column of this name; the numbers as they are, not as they are rounded.

    A table is drawn on a canvas; beside it stands, for screen readers, what it holds. It is drawn a moment after the
    words around it: ``ready`` says whether the lines are the new ones, and is waited for as long as a page may take.
    """
    frame = page.get_by_test_id("stDataFrame").filter(has=page.locator("th").get_by_text(column, exact=True)).first
    lines: list[dict[str, str]] = []
    for _ in range(120):
        frame.locator("tbody td").first.wait_for(state="attached")
        lines = [dict(zip(*line, strict=True)) for line in frame.locator("table").evaluate(_LINES)]
        if ready(lines):
            break
        page.wait_for_timeout(250)
    return lines


def traces(page, key: str) -> list[dict[str, Any]]:
    """Return name, mode, x, y and z of every trace of the figure with this key, as Plotly has drawn it."""
    figure = page.locator(f".st-key-{key.replace(' ', '-')} .js-plotly-plot")
    figure.locator(".main-svg").first.wait_for()
    return figure.evaluate(
        "figure => figure.data.map(({name, mode, x, y, z, text}) => ({name, mode, text,"
        " x: x && [...x], y: y && [...y], z: z && [...z].map(row => row.length === undefined ? row : [...row])}))"
    )


def settled(page) -> None:
    """Wait until the page has been drawn to its end; a click before that may meet what is about to be replaced."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(state="attached")


def drawn_pictures(page) -> list[str]:
    """Return the pictures of the page that are drawn as SVG."""
    sources = page.get_by_test_id("stMain").locator("img").evaluate_all("images => images.map(image => image.src)")
    head = "data:image/svg+xml;base64,"
    return [base64.b64decode(source.removeprefix(head)).decode() for source in sources if source.startswith(head)]


def wait_until(page, what, reason: str, seconds: float = 120.0) -> Any:
    """Return what a function gives as soon as it is true."""
    for _ in range(int(4 * seconds)):
        if found := what():
            return found
        page.wait_for_timeout(250)
    pytest.fail(f"{reason}: not within {seconds:.0f} s")

"""A tab of a real browser: what it asked for and complained about, where it is, what its tiles say."""

import re
from urllib.parse import parse_qs, urlsplit

SLOW_MS = 120_000
# Streamlit asks for its settings below the page's own path first, and takes the server's "not found" for an answer.
_EXPECTED_404 = re.compile(r"/_stcore/(health|host-config)$")


class Watch:
    """What a page asked for and complained about."""

    def __init__(self, address: str) -> None:
        self.host = urlsplit(address).netloc
        self.foreign: list[str] = []
        self.complaints: list[str] = []

    def follow(self, page):
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(SLOW_MS)
        return page

    def _requested(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.foreign.append(request.url)

    def _said(self, message) -> None:
        if message.type == "error" and not _EXPECTED_404.search(urlsplit(message.location.get("url", "")).path):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")


def query(page, name: str) -> str:
    """Return a value of the page's address."""
    return parse_qs(urlsplit(page.url).query).get(name, [""])[0]


def metric(page, label: str):
    """Return the value of a metric tile."""
    tile = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
    return tile.get_by_test_id("stMetricValue")


def go_to(page, title: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    page.get_by_role("heading", name=title, exact=True).wait_for()

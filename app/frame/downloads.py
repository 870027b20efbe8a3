"""Downloads of models and exported files: sent from disk by a route of the server, however large they are.

Streamlit's own download button reads a file whole and keeps it in memory, once for every click.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from engine.base.errors import WorkbenchError
from engine.base.files import safe_name
from engine.settings.results import ExportResult
from engine.workspace.store import Job, Store, default_workspace

_FOLDER = "downloads"
_HEADERS = {
    # Weights do not get smaller, and compressing them takes longer than sending them.
    "Content-Encoding": "identity",
    "Cache-Control": "no-store",
}


def routes() -> list[Route]:
    """Return what the server answers besides Streamlit's own addresses; read once, when it starts."""
    # The rest of the app is reached through a socket that Streamlit guards in the same way.
    hosts = st.get_option("server.allowedHosts") or ["*"]
    base = st.get_option("server.baseUrlPath").strip("/")
    folder = f"/{base}/{_FOLDER}" if base else f"/{_FOLDER}"
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return [Route(f"{folder}/{kind}/{{id}}", _sender(find), middleware=[guard]) for kind, find in _FINDERS.items()]


def offer_file(label: str, kind: str, identity: str, **looks: Any) -> None:
    """Show a button that downloads a file.

    Args:
        label: On the button.
        kind: "model" or "export".
        identity: Id of the model, or of the job that made the export.
        looks: Of ``st.link_button``.
    """
    # Relative to the page, all of which lie in one folder: so it holds behind a proxy too.
    address = f"{_FOLDER}/{kind}/{quote(identity, safe='')}"
    st.link_button(label, address, icon=":material/download:", key=f"download {identity}", **looks)


def exported_file(job: Job) -> Path:
    """Return where the file of an export lies; it may have been deleted since."""
    return job.result.path if isinstance(job.result, ExportResult) else Path()


def _sender(find: Callable[[str], tuple[Path, str]]) -> Callable[[Request], Response]:
    def send(request: Request) -> Response:
        try:
            path, name = find(request.path_params["id"])
        except WorkbenchError as error:
            return PlainTextResponse(str(error), status_code=404)
        if not path.is_file():
            return PlainTextResponse("The file is gone: go back and make it again.", status_code=404)
        return FileResponse(path, filename=name, media_type="application/octet-stream", headers=_HEADERS)

    return send


def _model(identity: str) -> tuple[Path, str]:
    model = Store(default_workspace()).model(identity)
    return model.path, f"{safe_name(model.name)}.pt"


def _export(identity: str) -> tuple[Path, str]:
    job = Store(default_workspace()).job(identity)
    path = exported_file(job)
    return path, f"{safe_name(job.title.removeprefix('Export '))}{path.suffix}"


_FINDERS = {"model": _model, "export": _export}
"Kind -> function from the id of something in the workspace, never a path, to its file and the name to save it under."

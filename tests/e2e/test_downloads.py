"""Large files leave the server from disk: whole, under their own names, and without passing through its memory."""

import hashlib
import http.client
from urllib.parse import urlsplit

import psutil
import pytest

from engine.workspace.store import Store
from tests.results import written

pytestmark = pytest.mark.slow

_MB = 1 << 20
_LARGE_MB = 300


@pytest.fixture(scope="module")
def large_model(server, tmp_path_factory):
    """A model of 300 MB in the workspace of the server."""
    path = tmp_path_factory.mktemp("large") / "large.pt"
    with open(path, "wb") as stream:
        stream.write(b"begin")
        stream.truncate(_LARGE_MB * _MB)
        stream.seek(-3, 2)
        stream.write(b"end")
    return Store(server[1]).add_model(path, "Größe 300", "imported", copy=False)


def ask(server, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server[0]).netloc, timeout=120)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def process_of(server) -> psutil.Process:
    port = str(urlsplit(server[0]).port)
    return next(process for process in psutil.Process().children(recursive=True) if port in process.cmdline())


def test_a_large_file_is_sent_whole_under_its_name(server, large_model):
    response = ask(server, f"/downloads/model/{large_model.id}", **{"Accept-Encoding": "gzip"})
    digest = hashlib.sha256()
    while chunk := response.read(_MB):
        digest.update(chunk)
    assert digest.hexdigest() == large_model.digest
    assert response.headers["Content-Disposition"] == "attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe-300.pt"


def test_downloads_of_several_sessions_do_not_sit_in_memory(server, large_model):
    process = process_of(server)
    ask(server, "/downloads/model/unknown").read()  # what a first request loads is loaded
    before = process.memory_info().rss
    downloads = [ask(server, f"/downloads/model/{large_model.id}") for _ in range(4)]
    most = before
    while any([response.read(_MB) for response in downloads]):  # a list, so that all of them go on
        most = max(most, process.memory_info().rss)
    assert most - before < 64 * _MB


def test_a_broken_download_goes_on_where_it_broke(server, large_model):
    response = ask(server, f"/downloads/model/{large_model.id}", Range=f"bytes={_LARGE_MB * _MB - 3}-")
    assert (response.status, response.read()) == (206, b"end")


def test_an_export_is_named_after_its_model(server, tmp_path):
    store = Store(server[1])
    job = store.add_job("export", {}, "Export Demo: pruned 0.5")
    path = tmp_path / "anything.onnx"
    path.write_bytes(b"onnx")
    store.finish_job(job.id, "done", written("export", path=str(path)))
    response = ask(server, f"/downloads/export/{job.id}")
    assert response.headers["Content-Disposition"] == 'attachment; filename="Demo-pruned-0-5.onnx"'
    assert response.read() == b"onnx"
    path.unlink()
    response = ask(server, f"/downloads/export/{job.id}")
    assert (response.status, response.read()) == (404, b"The file is gone: go back and make it again.")


@pytest.mark.parametrize("path", ["model/nothing", "export/nothing", "model/..%2F..%2Fsecret"])
def test_what_is_not_in_the_workspace_is_not_found(server, path):
    response = ask(server, f"/downloads/{path}")
    assert response.status in (400, 404)  # Streamlit itself refuses addresses that climb
    assert b"Traceback" not in response.read()


def test_only_the_known_names_of_the_server_are_answered(server, large_model):
    assert ask(server, f"/downloads/model/{large_model.id}", Host="evil.example").status == 400

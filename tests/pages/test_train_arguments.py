"""The Train page takes what Ultralytics' users type: its arguments, AutoBatch, trackers, data sets by name."""

import http.server
import io
import threading
import zipfile
from pathlib import Path

import pytest
import yaml

from engine.datasets import shipped
from engine.workspace.store import Store
from tests.runs import tiny_data

ARGUMENTS = "train {} arguments"


@pytest.fixture
def train(open_page, demo, started_jobs):
    def open_at(kind: str):
        app = open_page("train", demo.dense.id)
        app.button_group(key=f"kind {demo.dense.id}").set_value(kind).run()
        assert not app.exception and not app.error
        return app

    return open_at


def start(app, workspace):
    app.button(key="start").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    return job


@pytest.mark.parametrize("kind", ["train", "sparsify", "val"])
def test_ultralytics_arguments_are_checked_as_they_are_typed(train, kind):
    app = train(kind)
    for wrong, words in (
        ("mosaik=0.5" if kind != "val" else "iuo=0.5", "did you mean"),
        ("model=x.pt", "weights"),
        ("imgsz=96", "as well; leave one out"),
    ):
        app.text_input(key=ARGUMENTS.format(kind)).set_value(wrong).run()
        assert not app.exception
        assert len(app.error) == 1 and words in app.error[0].value, app.error
        assert app.button(key="start").disabled
        assert "Mend first what is marked in red above." in [each.value for each in app.caption]
    app.text_input(key=ARGUMENTS.format(kind)).set_value("").run()
    assert not app.error and not app.button(key="start").disabled


def test_they_go_into_the_job_with_the_trackers_and_the_automatic_batch(train, workspace):
    app = train("train")
    app.text_input(key=ARGUMENTS.format("train")).set_value("mosaic=0.5 freeze=[0,1] cache=ram").run()
    app.toggle(key="train train autobatch").set_value(True).run()
    assert app.number_input(key="train train batch").disabled
    app.button_group(key="train train tracker").set_value(["tensorboard"]).run()
    spec = start(app, workspace).spec
    assert spec["ultralytics"] == {"mosaic": 0.5, "freeze": [0, 1], "cache": "ram"}
    assert spec["batch"] == -1 and spec["tracker"] == ["tensorboard"]


def test_no_tracker_is_on_unless_it_is_chosen(train, workspace):
    spec = start(train("train"), workspace).spec
    assert not {"tracker", "ultralytics"} & set(spec) and spec["batch"] == 16


def test_the_forecast_of_a_sparse_run_follows_the_arguments(train):
    app = train("sparsify")
    app.selectbox(key="method").set_value("proximal").run()

    def steps() -> str:
        return next(metric.value for metric in app.metric if metric.label == "Optimizer steps")

    before = steps()
    app.text_input(key=ARGUMENTS.format("sparsify")).set_value("fraction=0.5").run()
    assert int(steps().replace(",", "")) < int(before.replace(",", ""))
    app.toggle(key="train sparsify autobatch").set_value(True).run()
    assert not app.exception and not app.error


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Let tiny.yaml come with Ultralytics, its images from a server here; return the requests that it saw."""
    root, packed, seen = Path(tiny_data(tmp_path / "drawn")).parent, io.BytesIO(), []
    with zipfile.ZipFile(packed, "w") as file:
        for path in root.rglob("*"):
            if path.is_file() and path.suffix != ".yaml":
                file.write(path, Path("tiny") / path.relative_to(root))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(packed.getvalue())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path / "package"
    folder.mkdir()
    content = {"path": "tiny", "train": "images/train", "val": "images/val", "names": ["dinghy", "freighter", "buoy"]}
    content["download"] = f"http://127.0.0.1:{server.server_port}/tiny.zip"
    (folder / "tiny.yaml").write_text(f"# └── tiny ← downloads here (1 MB)\n{yaml.safe_dump(content)}")
    monkeypatch.setattr(shipped, "shipped_folder", lambda: folder)
    monkeypatch.setattr(shipped, "_datasets_dirs", lambda: [])
    yield seen
    server.shutdown()


def test_a_data_set_by_name_is_downloaded_at_a_press_alone_into_the_workspace(train, demo, workspace, served):
    from app.data import known_data

    app = train("train")
    app.button_group(key=f"train source {demo.dense.id}").set_value("My own").run()
    app.text_input(key=f"train path {demo.dense.id}").set_value("tiny.yaml").run()
    assert "1 MB would be downloaded from 127.0.0.1" in app.info[0].value and served == []
    assert app.button(key="start").disabled
    app.button(key="train download tiny.yaml").click().run()
    assert not app.exception
    (state,) = known_data._DOWNLOADS.values()
    for thread in threading.enumerate():
        if thread.name == "download tiny.yaml":
            thread.join(60)
    assert state.ended and not state.error
    app.run()
    next(box for box in app.checkbox if str(box.key).startswith("agree ")).check().run()  # it has other classes
    assert not app.exception and not app.error and not app.button(key="start").disabled
    assert Path(start(app, workspace).spec["data"]) == workspace / "datasets" / "tiny.yaml"

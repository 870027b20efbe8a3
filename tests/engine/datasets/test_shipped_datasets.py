"""Names that Ultralytics users type: coco8.yaml is found; images are fetched on request alone, from a server here."""

import http.server
import io
import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import psutil
import pytest
import yaml

from engine.base.errors import DatasetError, StopRequested, WorkbenchError
from engine.cli import main
from engine.datasets import (
    check_dataset,
    described_in,
    download,
    downloading,
    fetch_if_missing,
    is_under_way,
    offer_of,
    shipped,
    shipped_description,
)
from engine.datasets.shipped import MissingImages, is_shipped
from engine.recipes import load_recipe
from engine.verbs import run_verb
from engine.verbs.recipe import run_recipe
from tests.runs import spec, tiny_data, write_dense


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder to stand in, and no settings of a person."""
    monkeypatch.setattr(shipped, "_datasets_dirs", lambda: [])
    monkeypatch.setattr(shipped, "_own_settings", lambda: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """A zip file of a drawn set in a folder tiny."""
    root = Path(tiny_data(tmp_path_factory.mktemp("data"))).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".yaml":
                file.write(path, Path("tiny") / path.relative_to(root))
    return packed.getvalue()


@pytest.fixture
def server(archive):
    """A local server of that archive; returns its address and the requests that it saw."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            known = self.path in ("/tiny.zip", "/broken.zip")
            body = b"no archive" if self.path == "/broken.zip" else archive
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body) if known else 0))
            self.end_headers()
            if known:
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", seen
    running.shutdown()


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Return a function that puts a description into the folder that stands for the installed package's."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(shipped, "shipped_folder", lambda: folder)

    def write(download: str | None, name: str = "tiny.yaml") -> Path:
        names = {0: "dinghy", 1: "freighter", 2: "buoy"}
        content = {"path": "tiny", "train": "images/train", "val": "images/val", "names": names, "download": download}
        text = f"# └── tiny ← downloads here (1 MB)\n{yaml.safe_dump(content)}"
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return write


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_every_shipped_description_says_what_would_be_downloaded_and_from_whom():
    folder = shipped.shipped_folder()
    offers = {path.name: offer_of(path) for path in folder.glob("*.yaml") if path.name != "ImageNet.yaml"}
    assert len(offers) > 40
    for name, offer in offers.items():
        assert offer.possible == bool(offer.addresses or offer.script), name
        assert "\n" not in str(MissingImages(offer))
    assert str(MissingImages(offers["coco8.yaml"])) == (
        "The images of coco8.yaml are not on this machine: 1 MB would be downloaded from github.com as one archive."
    )
    assert "~2 GB would be downloaded from github.com by a script" in offers["VisDrone.yaml"].sentence
    assert not offers["ade20k.yaml"].possible and "not offered for download" in offers["ade20k.yaml"].sentence
    assert offers["coco.yaml"].hosts[:2] == ("github.com", "images.cocodataset.org")
    from ultralytics.utils import ASSETS_URL

    assert shipped.ASSETS_URL == ASSETS_URL


def test_a_name_is_found_in_the_package_and_missing_images_are_one_sentence(capsys, tmp_path):
    weights = write_dense(tmp_path / "dense.pt")
    for name in ("coco8.yaml", "coco8", "VisDrone.yaml"):
        with pytest.raises(MissingImages, match="are not on this machine"):
            check_dataset(name)
    assert main(["train", "--weights", str(weights), "--data", "coco8.yaml", "--save-dir", "run"]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.count("\n") == 0 and "github.com" in shown and "--download" in shown
    assert not Path("run").exists() and not Path("datasets").exists()
    with pytest.raises(DatasetError, match=r"coco9\.yaml does not exist"):
        check_dataset("coco9.yaml")


def test_a_file_of_the_person_wins_over_a_shipped_name(tmp_path, ship):
    ship("http://127.0.0.1:1/tiny.zip")
    data = tiny_data(tmp_path / "own")
    Path("tiny.yaml").write_text(Path(data).read_text() + f"\npath: {Path(data).parent}\n")
    info = check_dataset("tiny.yaml")
    assert info.yaml_path == tmp_path / "tiny.yaml" and info.images == {"train": 8, "val": 4}
    fetch_if_missing("tiny.yaml", tmp_path / "datasets", lambda event: pytest.fail("nothing is to be said"))


def test_it_is_downloaded_on_request_alone_and_then_trains(ship, server, tmp_path):
    address, seen = server
    ship(f"{address}/tiny.zip")
    weights, told = write_dense(tmp_path / "dense.pt"), []
    asked = spec(weights, "tiny.yaml", tmp_path / "run", epochs=1)
    with pytest.raises(MissingImages, match=r"1 MB would be downloaded from 127\.0\.0\.1"):
        run_verb("train", asked)
    assert seen == []
    run_verb("train", {**asked, "download": True}, told.append)
    assert any("from 127.0.0.1" in event.get("text", "") for event in told)
    assert sorted(path.name for path in (tmp_path / "datasets").iterdir()) == ["tiny"]
    count = len(seen)
    assert check_dataset("tiny").images == {"train": 8, "val": 4}
    fetch_if_missing("tiny.yaml", tmp_path / "datasets", lambda event: pytest.fail("it is there"))
    assert len(seen) == count, "what is there is not fetched again"


def test_a_script_of_the_package_is_told_and_run_and_one_of_another_file_never(ship, server, tmp_path):
    address, _ = server
    script = (
        "from pathlib import Path\nfrom ultralytics.utils.downloads import download\n"
        f"download(['{address}/tiny.zip'], dir=Path(yaml['path']).parent, delete=True)\n"
    )
    path = ship(script)
    offer = offer_of(path)
    assert "by a script of Ultralytics" in offer.sentence and offer.hosts == ("127.0.0.1",)
    assert download(offer, tmp_path / "sets") == tmp_path / "sets" / "tiny"
    described = described_in(offer, tmp_path / "sets")
    assert described == tmp_path / "sets" / "tiny.yaml" and "download" not in yaml.safe_load(described.read_text())
    assert check_dataset(described).images == {"train": 8, "val": 4}
    copy = tmp_path / "copy" / "tiny.yaml"
    copy.parent.mkdir()
    copy.write_text(
        yaml.safe_dump({**yaml.safe_load(path.read_text()), "path": "gone", "download": "open('x','w')\n1"})
    )
    assert not is_shipped(copy)
    with pytest.raises(DatasetError, match="no description that Ultralytics ships"):
        offer_of(copy)
    fetch_if_missing(str(copy), tmp_path / "other", lambda event: None)
    assert nothing_left(tmp_path / "other") and not Path("x").exists()


@pytest.mark.parametrize(
    ("download_key", "words"),
    [
        ("http://127.0.0.1:9/tiny.zip", "no connection to 127.0.0.1"),
        ("{address}/missing.zip", "answered 404"),
        ("{address}/broken.zip", "no whole data set"),
        ("from pathlib import Path\nraise RuntimeError('fetch it by hand')\n", "fetch it by hand"),
        (None, "cannot be downloaded"),
    ],
)
def test_a_download_that_fails_is_one_sentence_and_leaves_nothing(ship, server, tmp_path, download_key, words):
    offer = offer_of(ship(download_key and download_key.replace("{address}", server[0])))
    with pytest.raises(DatasetError, match=words) as refused:
        download(offer, tmp_path / "sets")
    assert "\n" not in str(refused.value)
    if "no connection" in words:
        assert f"from a machine that has it to {tmp_path / 'sets' / offer.folder}" in str(refused.value)
    assert nothing_left(tmp_path / "sets")


def test_a_download_says_how_far_it_is_and_can_be_stopped(ship, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TELL_EVERY_S", 0.05)
    told, others = [], psutil.Process().children()

    def report(event):
        told.append(event["text"])
        if len(told) == 3:
            raise StopRequested

    with pytest.raises(StopRequested):
        download(offer_of(ship(f"{server[0]}/tiny.zip")), tmp_path / "sets", report)
    assert "MB on the disk so far" in told[1] and nothing_left(tmp_path / "sets")
    assert set(psutil.Process().children()) <= set(others), "the process that downloaded has ended"


def test_what_a_killed_download_left_blocks_no_other_even_where_its_process_number_is_in_use_again(
    ship, server, tmp_path
):
    offer, folder = offer_of(ship(f"{server[0]}/tiny.zip")), tmp_path / "sets"
    before_the_restart = folder / f".tiny-partial-{os.getpid()}-1000000000-abc"
    before_the_restart.mkdir(parents=True)
    assert not is_under_way(offer, folder)
    assert download(offer, folder).is_dir() and not before_the_restart.exists()
    (folder / downloading._prefix(offer, os.getpid())).mkdir()
    assert is_under_way(offer, folder)
    with pytest.raises(DatasetError, match="are being downloaded"):
        shutil.rmtree(folder / "tiny")
        download(offer, folder)


def test_a_set_that_another_process_brought_meanwhile_is_taken(ship, server, tmp_path, monkeypatch):
    offer, folder = offer_of(ship(f"{server[0]}/tiny.zip")), tmp_path / "sets"
    check = downloading._check_whole

    def checked(offer, aside):
        check(offer, aside)
        shutil.copytree(aside / "tiny", folder / "tiny")

    monkeypatch.setattr(downloading, "_check_whole", checked)
    assert download(offer, folder) == folder / "tiny"
    assert [path.name for path in folder.iterdir()] == ["tiny"]


def test_a_recipe_may_allow_the_download(ship, server, tmp_path):
    ship(f"{server[0]}/tiny.zip")
    path = tmp_path / "r.yaml"
    path.write_text("data: tiny.yaml\ndownload: true\nsteps: [{val: {batch: 4, imgsz: 64}}]")
    recipe = load_recipe(path)
    assert recipe.data == "tiny.yaml" and recipe.download
    weights = write_dense(tmp_path / "dense.pt")
    result = run_recipe(recipe, str(weights), save_dir=tmp_path / "run", device="cpu")
    assert result["metrics"] and (tmp_path / "datasets" / "tiny").is_dir()
    path.write_text("download: maybe\nsteps: [{val: {batch: 4}}]")
    with pytest.raises(WorkbenchError, match="true or false"):
        load_recipe(path)


def test_sets_that_stock_ultralytics_downloaded_are_found_by_its_own_settings(ship, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config" / "Ultralytics" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"datasets_dir": str(tmp_path / "theirs")}))
    before = settings.read_text()
    root = Path(tiny_data(tmp_path / "drawn")).parent
    (tmp_path / "theirs").mkdir()
    root.rename(tmp_path / "theirs" / "coco8")
    assert shipped.download_folder() == tmp_path / "theirs"
    offer = offer_of(shipped_description("coco8.yaml"))
    assert described_in(offer, tmp_path / "sets") is not None
    assert check_dataset("coco8").root == tmp_path / "theirs" / "coco8"
    assert settings.read_text() == before

"""Drives every page in this process and prints, as JSON, which heavy packages it has imported by then.

Run by ``test_light_server.py`` in a process of its own: ``python tests/pages/_every_page.py WORKSPACE``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
HEAVY = ("torch", "torchvision", "ultralytics", "onnx", "onnxruntime", "thop")
importers: dict[str, list[str]] = {}


class Noted:
    """Notes who imports a heavy package; finds nothing itself."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> None:
        if name in HEAVY and name not in importers:
            stack = [frame for frame in traceback.extract_stack() if str(ROOT) in frame.filename][:-1]
            importers[name] = [f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}" for frame in stack]


sys.meta_path.insert(0, Noted())  # type: ignore[arg-type]
os.environ["PRUNE_WORKSPACE"] = sys.argv[1]

from streamlit.testing.v1 import AppTest  # noqa: E402


def page(name: str, model: str | None = None) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "frame" / "frame.py"), default_timeout=200)
    if model:
        app.session_state["model_id"] = model
    if name != "models":
        app.switch_page(str(ROOT / "pages" / f"{name}.py"))
    return checked(app.run())


def checked(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].stack_trace
    errors = [error.value for error in app.error]
    assert not errors, errors
    return app


def main() -> None:
    import shutil

    from app.models import library
    from app.training.settings import devices
    from engine.workspace.store import Store

    store = Store(Path(sys.argv[1]))
    page("models")
    page("models").button(key="open demo").click().run()
    dense, sparse = (next(model for model in store.models() if word in model.name) for word in ("dense", "sparse"))
    with open(sparse.path, "rb") as stream:
        library.add_upload(store, "again.pt", sparse.path.stat().st_size, stream)
    copied = store.folder / "own.pt"
    shutil.copy(dense.path, copied)
    library.add_official(store, str(copied))
    assert devices()["cpu"] == "CPU"
    for name in ("models", "gammas", "compare", "lineage", "recipes", "train", "prune", "export", "jobs"):
        page(name, sparse.id)
    gammas = page("gammas", sparse.id)
    checked(gammas.slider(key="threshold ratio").set_value(0.4).run())
    train = page("train", sparse.id)
    for kind in ("train", "finetune", "val", "sparsify"):
        checked(train.segmented_control(key=f"kind {sparse.id}").set_value(kind).run())
    field = train.text_input(key="train sparsify arguments")
    checked(field.input("mosaic=0.5").run())
    prune = page("prune", sparse.id)
    for target in ("Parameters", "GFLOPs", "Latency", "Ratio"):
        checked(prune.segmented_control(key="target").set_value(target).run())
    size = prune.text_input(key=f"gflops size {sparse.digest}")
    checked(size.input("384,640").run())
    checked(prune.slider(key="ratio").set_value(0.3).run())
    checked(prune.button(key="prune").click().run())
    pruned = store.models()[0]
    assert pruned.kind == "pruned", pruned
    compare = page("compare", pruned.id)
    checked(compare.segmented_control(key="compare view").set_value("On images").run())
    for name in ("gammas", "prune", "lineage", "export", "train"):
        page(name, pruned.id)

    from app.family.report import make_report

    assert b"<html" in make_report(store, pruned)[:400].lower()
    loaded = sorted(set(HEAVY) & set(sys.modules))
    print(json.dumps({"loaded": loaded, "importers": importers, "models": len(store.models())}))


if __name__ == "__main__":
    main()

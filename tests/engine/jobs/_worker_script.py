"""A worker whose verbs are made for tests. Command line: WORKSPACE JOB_ID, as for engine.jobs.worker."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from engine.base.errors import StopRequested, TrainingError
from engine.jobs import worker
from engine.settings.results import Result

_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"


class Traces(Result):
    """What a test verb returns."""

    released: bool | None = None
    hidden: str | None = None


def run_verb(verb, spec, report):
    """Run a test verb; each leaves traces in spec["save_dir"]."""
    return Traces.model_validate(_VERBS[verb](spec, report))


def _wait(spec, report):
    """Report until told to stop, or until the file "release" appears."""
    folder = Path(spec["save_dir"])
    (folder / "modules.json").write_text(json.dumps(sorted(sys.modules)))
    report({"kind": "status", "text": "working"})
    try:
        while not (folder / "release").exists():
            time.sleep(0.02)
            report({"kind": "step", "epoch": 1, "epochs": 2, "step": 1, "steps": 4})
    finally:
        (folder / "cleaned").touch()
    return {"released": True}


def _count(spec, report):
    for epoch in range(1, 4):
        for step in range(1, 6):
            report({"kind": "step", "epoch": epoch, "epochs": 3, "step": step, "steps": 5, "losses": {"box": step / 5}})
        report({"kind": "epoch", "epoch": epoch, "epochs": 3, "seconds": 1.0, "metrics": {"mAP50": epoch / 10}})
    return {"metrics": {"mAP50": 0.3}, "artefacts": []}


def _raise(spec, report):
    if spec.get("explained"):
        raise TrainingError("The batch is too large: choose a smaller one.")
    raise ValueError("a defect\nwith a second line")


def _spawn(spec, report):
    """Start children that ignore SIGTERM, one in a session of its own, then wait."""
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD], start_new_session=apart, stdout=subprocess.DEVNULL)
        for apart in (False, True)
    ]
    print("children started", flush=True)
    (Path(spec["save_dir"]) / "children.tmp").write_text(json.dumps([child.pid for child in children]))
    (Path(spec["save_dir"]) / "children.tmp").rename(Path(spec["save_dir"]) / "children.json")
    while not spec.get("leave"):
        time.sleep(0.05)
    return {}


def _make(spec, report):
    first, second = (Path(spec["save_dir"]) / name for name in ("pruned.pt", "best.pt"))
    first.write_bytes(b"pruned")
    second.write_bytes(b"finetuned")
    return {
        "metrics": {"mAP50": 0.5},
        "artefacts": [
            {"path": str(first), "kind": "pruned", "register": True, "name": "Half", "params": 10, "metrics": {}},
            {"path": str(second), "kind": "finetuned", "register": True, "parent": str(first)},
            {"path": "metrics.csv", "kind": "log"},
        ],
    }


def _save(spec, report):
    """Catch the stop and return what there is."""
    last = Path(spec["save_dir"]) / "last.pt"
    with contextlib.suppress(StopRequested):
        return _wait(spec, report)
    last.write_bytes(b"last")
    suffix = {"suffix": spec["suffix"]} if spec.get("suffix") else {}
    return {"artefacts": [{"path": str(last), "kind": "sparse", "register": True, **suffix}]}


def _train(spec, report):
    """Three epochs; the second one waits for the file "release" unless this is a resumed run. Goes on where it was."""
    folder = Path(spec["save_dir"])
    done = len(_lines(folder / "epochs.txt")) if spec.get("resume") else 0
    for epoch in range(done + 1, 4):
        report({"kind": "step", "epoch": epoch, "epochs": 3, "step": 1, "steps": 2})
        while spec.get("hold") and epoch == 2 and not spec.get("resume") and not (folder / "release").exists():
            time.sleep(0.02)
            report({"kind": "step", "epoch": epoch, "epochs": 3, "step": 1, "steps": 2})
        with open(folder / "epochs.txt", "a") as stream:
            stream.write(f"{epoch}\n")
        report({"kind": "epoch", "epoch": epoch, "epochs": 3, "seconds": 1.0})
    return _model(folder / "best.pt", spec, "trained")


def _prune(spec, report):
    """Make a model; fails while the file that "needs" names is missing."""
    if spec.get("needs") and not Path(spec["needs"]).exists():
        raise TrainingError("There is nothing to prune yet.")
    # As Ultralytics does with the devices that a job did not ask for.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return _model(Path(spec["save_dir"]) / "pruned.pt", spec, "pruned")


def _val(spec, report):
    return {"artefacts": [], "metrics": {"mAP50": 0.4}, "hidden": os.environ.get("CUDA_VISIBLE_DEVICES")}


def _alone(spec, report):
    """Fail if another one of these is at work on the same device."""
    locks = [Path(spec["locks"]) / device for device in str(spec["device"]).split(",")]
    for lock in locks:
        lock.touch(exist_ok=False)
    time.sleep(0.1)
    for lock in locks:
        lock.unlink()
    return {}


def _model(path, spec, kind):
    path.write_text(f"{kind} from {spec['weights']} in {path.parent.name}")
    return {"artefacts": [{"path": str(path), "kind": kind, "register": True}], "metrics": {}}


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


_VERBS = {
    "wait": _wait,
    "count": _count,
    "raise": _raise,
    "spawn": _spawn,
    "make": _make,
    "save": _save,
    "train": _train,
    "finetune": _train,
    "prune": _prune,
    "val": _val,
    "compare": _val,
    "alone": _alone,
}


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], run_verb, (sys.executable, "-u", __file__)))

"""Children answer in JSON and arrays, keep within their bounds, and end in one sentence where they do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import CheckpointError, PlanError, WorkbenchError
from engine.checkpoints import child
from engine.checkpoints.child import Bounds, run_in_child
from tests.engine.checkpoints.child_functions import reach_out

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and memory bounded, on Linux alone")
FUNCTIONS = "tests.engine.checkpoints.child_functions"
WAYS = [
    *(
        "write",
        "append",
        "update",
        "descriptor",
        "new",
        "through a link",
        "relative",
        "remove",
        "rename",
        "replace",
        "truncate",
    ),
    *("chmod", "folder", "symlink", "connect", "socket", "resolve", "run", "system", "exec", "spawn", "fork", "kill"),
    *("limits", "remove beside", "rename beside", "mode of a descriptor", "times of a descriptor", "pipe"),
    *("own library", "spawned", "signal", "shared pages", "shared memory"),
]


def ask(name: str, bounds: Bounds | None = Bounds(), scratch: Path | None = None, **arguments: Any) -> Any:  # noqa: B008
    return run_in_child(f"{FUNCTIONS}:{name}", arguments, "model.pt", bounds=bounds, scratch=scratch)


def test_it_answers_in_values_and_arrays():
    value, arrays = ask("echo", value={"ratio": 0.5, "names": ["boat", "buoy ⚓"]})
    assert value == {"ratio": 0.5, "names": ["boat", "buoy ⚓"]}
    np.testing.assert_array_equal(arrays["numbers"], np.arange(6.0).reshape(2, 3))
    assert arrays["pid"][0] != os.getpid()


def test_an_error_for_a_person_is_raised_as_it_was():
    with pytest.raises(PlanError, match=r"^Nothing of this can be pruned\.$"):
        ask("refuse", sentence="Nothing of this can be pruned.")


def test_an_error_of_a_kind_that_a_room_made_for_itself_keeps_its_sentence():
    with pytest.raises(WorkbenchError, match=r"^Step 1 cannot be done\.$"):
        ask("refuse_as_recipe", sentence="Step 1 cannot be done.")


def test_a_sentence_is_of_bounded_length():
    with pytest.raises(PlanError) as raised:
        ask("refuse", sentence="long " * 10_000)
    assert len(str(raised.value)) <= 501


def test_a_defect_is_one_sentence_and_goes_to_the_log(caplog):
    with pytest.raises(CheckpointError, match=r"^model.pt cannot be opened here \(ZeroDivisionError: no sentence"):
        ask("fail")
    assert "in fail" in caplog.text


@LINUX
@pytest.mark.parametrize("name", ["hog", "hog_tensor"])
def test_memory_is_bounded(name):
    with pytest.raises(CheckpointError, match=r"^model.pt needs more than 2 GB of memory to be opened"):
        ask(name)


@LINUX
def test_processor_time_is_bounded():
    with pytest.raises(CheckpointError, match=r"^model.pt was not open after 20 s, so it was given up"):
        ask("spin", Bounds(cpu_s=1, wall_s=20))


def test_wall_time_is_bounded():
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"^model.pt was not open after 1.5 s, so it was given up"):
        ask("sleep", Bounds(wall_s=1.5))
    assert time.monotonic() - began < 30


@LINUX
def test_output_is_bounded(tmp_path):
    with pytest.raises(CheckpointError, match=r"File too large"):
        ask("write_inside", Bounds(output_bytes=100_000), tmp_path, size=200_000)


def test_it_may_write_into_its_folder(tmp_path):
    assert ask("write_inside", scratch=tmp_path, size=1000)[0] == 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"], "nothing but what the function wrote stays"


@pytest.mark.skipif(os.name != "posix", reason="names ways of POSIX")
@pytest.mark.parametrize("way", WAYS)
def test_it_reaches_nothing_else(way, tmp_path):
    """Nothing is written, removed or renamed outside its folder, nothing is connected to, no process is started."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "link").symlink_to(outside)
    with pytest.raises(CheckpointError, match=r"^model.pt was refused: it wants to (write to|use) "):
        ask("reach_out", scratch=scratch, way=way, path=str(outside))
    assert outside.read_text() == "precious" and sorted(os.listdir(tmp_path)) == ["outside", "scratch"]


def test_the_ways_do_what_they_say_without_bounds(tmp_path):
    """The test above could not fail if a way did nothing."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    reach_out(tmp_path, "truncate", str(outside))
    assert outside.read_text() == ""
    assert ask("reach_out", bounds=None, way="run", path=str(outside))[0] == "done"


@LINUX
@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGKILL, "The system ended the process that opened model.pt, most likely because memory ran out"),
        (signal.SIGSEGV, "The process that opened model.pt ended without an answer (signal 11)"),
    ],
)
def test_a_child_that_is_killed_is_told(number, sentence):
    with pytest.raises(CheckpointError) as raised:
        ask("die", bounds=None, number=int(number))
    assert str(raised.value).startswith(sentence)


@LINUX
def test_the_process_that_forks_is_started_again_when_it_has_ended():
    ask("echo", value=1)
    process = child._server._process
    assert process is not None
    process.kill()
    process.wait()
    assert ask("echo", value=2)[0] == 2


def test_several_are_asked_at_once():
    answers: list[str] = []
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: answers.append(ask("sleep", seconds=2)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["slept"] * 4
    assert time.monotonic() - began < 7.5 or sys.platform != "linux", "one after another they take 8 s"


def test_who_asks_imports_no_pytorch_though_the_child_has_it():
    """Also from a script: the child must not run the one who asks once more."""
    script = (
        "import sys\n"
        "from engine.checkpoints.child import run_in_child\n"
        f"print(run_in_child('{FUNCTIONS}:modules', {{}}, 'model.pt')[0])\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ultralytics'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280)
    assert done.stdout.split("\n")[:2] == ["['torch', 'ultralytics']" if sys.platform == "linux" else "[]", "[]"]


@LINUX
def test_nothing_is_left_when_the_one_who_asks_ends():
    script = (
        "from engine.checkpoints import child\n"
        f"child.run_in_child('{FUNCTIONS}:echo', {{'value': 1}}, 'model.pt')\n"
        "print(child._server._process.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280)
    server = Path("/proc") / done.stdout.strip()
    deadline = time.monotonic() + 20
    while server.exists() and "Z" not in (server / "stat").read_text().split()[2] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not server.exists() or (server / "stat").read_text().split()[2] == "Z"


def test_without_forks_the_same_is_answered(monkeypatch):
    monkeypatch.setattr(child, "_forked", child._spawned)
    assert ask("echo", value=3)[0] == 3
    with pytest.raises(CheckpointError, match=r"was not open after 0.2 s"):
        ask("sleep", Bounds(wall_s=0.2))

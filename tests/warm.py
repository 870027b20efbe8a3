"""Processes that start warm: each is a fork of one that has already imported what a cold one would import.

Importing PyTorch and Ultralytics takes longer than most commands. A fork has an own memory, own streams, an own working
directory and an own exit code, and has run nothing; what is imported, and in which order, is for tests that start cold.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

_IMPORTS = (
    "torchvision matplotlib.pyplot onnx onnxruntime torch.onnx torch.fx ultralytics.engine.trainer engine.cli".split()
)


class Warm:
    """One process that has imported the engine, found from a folder, and forks on request; it knows of no pytest."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self.environment = {**kept, "PYTHONPATH": str(root), **environment}
        self._server: subprocess.Popen | None = None

    def run(self, *arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
        """Run ``python ARGUMENTS`` ("-m", module, ... or "-c", program, ...) and return its code and what it said.

        The environment is added to the server's after the imports: variables that imports read need a cold start.
        """
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__], cwd=self.root, env=self.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        words = [str(argument) for argument in arguments]
        with tempfile.TemporaryDirectory() as folder:
            said = [Path(folder) / name for name in ("stdout", "stderr")]
            request = {"words": words, "cwd": str(cwd or self.root), "said": list(map(str, said))}
            request["environment"] = environment
            print(json.dumps(request), file=self._server.stdin, flush=True)
            code = int(self._server.stdout.readline())
            return subprocess.CompletedProcess(words, code, *(path.read_text(encoding="utf-8") for path in said))

    def end(self) -> None:
        """End the process that forks."""
        if self._server is not None:
            self._server.communicate()


def _serve() -> None:
    """Fork for every line of standard input, and answer with the exit code once the fork has ended."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # imports may print
    sys.path[0] = ""  # the folder it was started in, as of ``python -m``, in place of this file's
    import engine
    from engine.base.runtime import import_ultralytics

    assert Path(engine.__file__).resolve().is_relative_to(Path.cwd().resolve())
    import_ultralytics()
    from engine import verbs

    for name in [*_IMPORTS, *(f"engine.verbs.{module.name}" for module in pkgutil.iter_modules(verbs.__path__))]:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if not (child := os.fork()):
            _become(**request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, file=answers, flush=True)


def _become(words: list[str], cwd: str, said: list[str], environment: dict[str, str]) -> None:
    """Be the process ``python WORDS``, to its end."""
    os.chdir(cwd)
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdin = open(0)  # the streams for output are those that log handlers hold already
    kind, what, *rest = words
    sys.argv = [kind, *rest]
    code = 1
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()

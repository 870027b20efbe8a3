"""What a server pays for showing the Prune page: with the model opened in it, and with the model's profile.

    python benchmarks/profiles.py [CHECKPOINT]

Each way runs in a process of its own, which imports what the page imports, gets the model, and works out what the page
first shows: the plan at 0.5, its preview and the curve of 96 ratios. Printed are seconds and memory (resident, MB) of
both, and their ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo" / "yolov8n-harbour-sparse.pt"
_SHOWN = """
import json, sys, time
from pathlib import Path
import pandas, plotly.graph_objects, streamlit, psutil
import engine.workspace.store
memory = lambda: psutil.Process().memory_info().rss / 1e6
base, began = memory(), time.perf_counter()
{get}
got = time.perf_counter() - began
began = time.perf_counter()
opened.preview(0.5)
opened.curve(tuple(step / 100 for step in range(96)))
print(json.dumps(dict(get_s=got, show_s=time.perf_counter() - began, base_mb=base, mb=memory())))
"""
_OPENED = "from engine.pruning.session import Slimming\nopened = Slimming.open(sys.argv[1])"
_PROFILED = """from engine.base.arrays import read_arrays
from engine.profile.profile import unpacked
from engine.pruning.planning import ProfilePlanner
opened = ProfilePlanner(unpacked(*read_arrays(Path(sys.argv[1]), 1 << 28)))"""
_MADE = """
import sys, time, json
from pathlib import Path
from engine.base.arrays import write_arrays
from engine.checkpoints import child
from engine.profile.profile import packed
from engine.pruning.profiling import profile_of_file
taken = []
for _ in range(3):
    began = time.perf_counter()
    profile = profile_of_file(Path(sys.argv[1]))
    taken.append(time.perf_counter() - began)
write_arrays(Path(sys.argv[2]), *packed(profile))
print(json.dumps(taken))
"""


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own and return the last line that it printed."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


def main() -> None:
    """Print the table."""
    checkpoint = str(Path(sys.argv[1] if len(sys.argv) > 1 else DEMO).absolute())
    with tempfile.TemporaryDirectory() as folder:
        kept = f"{folder}/profile.npz"
        first, *later = json.loads(run(_MADE, checkpoint, kept))
        size = Path(kept).stat().st_size / 1e6
        print(f"profile made in a child: first {first:.2f} s, then {min(later):.2f} s; {size:.1f} MB")
        told = {
            "opened": json.loads(run(_SHOWN.format(get=_OPENED), checkpoint)),
            "profile": json.loads(run(_SHOWN.format(get=_PROFILED), kept)),
        }
    for name, each in told.items():
        print(
            f"{name:8} first shown after {each['get_s'] + each['show_s']:6.3f} s (got {each['get_s']:.3f}, worked out "
            f"{each['show_s']:.3f}), {each['mb']:4.0f} MB, of which {each['base_mb']:.0f} before"
        )
    first_s = [each["get_s"] + each["show_s"] for each in told.values()]
    print(
        f"ratio    {first_s[0] / first_s[1]:.1f} in time, {told['opened']['mb'] / told['profile']['mb']:.1f} in memory"
    )


if __name__ == "__main__":
    main()

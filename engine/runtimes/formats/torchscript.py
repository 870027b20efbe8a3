"""TorchScript: one file that torch.jit.load can read, also from C++."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engine.runtimes.formats._format import LINEAGE_FILE, Backend, Format, Outputs


class TorchScript(Format):
    """Run by PyTorch."""

    suffix = ".torchscript"

    def sign(self, exported: Path, facts: dict[str, str]) -> None:
        import torch

        kept = {"config.txt": ""}
        model = torch.jit.load(str(exported), map_location="cpu", _extra_files=kept)
        model.save(str(exported), _extra_files={**kept, LINEAGE_FILE: json.dumps(facts)})

    def open(self, exported: Path, threads: int) -> Backend:
        import torch

        from engine.runtimes.threads import torch_threads

        model = torch.jit.load(str(exported), map_location="cpu").eval()

        def run(array: np.ndarray) -> Outputs:
            with torch.inference_mode(), torch_threads(threads):
                output = model(torch.from_numpy(array))
            tensors = output if isinstance(output, (tuple, list)) else [output]
            return [tensor.numpy() for tensor in tensors if isinstance(tensor, torch.Tensor)]

        return run


FORMAT = TorchScript()

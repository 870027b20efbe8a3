"""Counts the parameters and operations of a model as Ultralytics does; the model is neither run nor changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import thop
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, height_width, model_stride
from engine.checkpoints.inputs import image_channels, meta_copy, meta_result
from engine.profile.convolutions import ConvolutionRun
from engine.profile.cost import Operations


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Return name -> elements of every parameter."""
    return {name: parameter.numel() for name, parameter in model.named_parameters()}


def count_operations(model: nn.Module, imgsz: ImageSize) -> Operations:
    """Count multiply-adds with thop, as Ultralytics does, on a copy without memory.

    Args:
        model: Takes (B, C, H, W) images.
        imgsz: Image size, pixels or (height, width).

    Raises:
        PlanError: The model does not run at that image size.
    """
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    if min(height, width) < 1:
        raise PlanError(f"There are no images of {height}x{width} pixels; choose a multiple of 32.")
    twin = meta_copy(model).eval()
    image = torch.empty(1, image_channels(twin), height, width, device="meta")
    counter = _ProductCounter()
    try:
        with counter:
            total, _, tree = thop.profile(twin, inputs=[image], verbose=False, ret_layer_info=True)
    except Exception as error:
        stride = model_stride(model)
        other = f"a multiple of {stride}" if height % stride or width % stride else "another size"
        raise PlanError(
            f"The model does not run at {height}x{width} pixels ({type(error).__name__}); choose {other}."
        ) from error
    by_module: dict[str, int] = {}
    _own_operations(tree, "", by_module)
    return Operations(int(total), by_module, tuple(counter.operations))


def _own_operations(tree: dict, prefix: str, found: dict[str, int]) -> None:
    for name, (operations, _params, children) in tree.items():
        own = int(operations) - sum(int(child[0]) for child in children.values())
        if own:
            found[prefix + name] = own
        _own_operations(children, f"{prefix}{name}.", found)


class _ProductCounter(TorchFunctionMode):
    """Lists output elements times contracted length of every matrix product, as thop counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[int] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        output = meta_result(func, args, kwargs or {})
        if getattr(func, "__name__", "").strip("_") in {"matmul", "bmm"}:
            self.operations.append(output.numel() * args[0].shape[-1])
        return output


def convolutions_run(model: nn.Module, imgsz: ImageSize) -> tuple[ConvolutionRun, ...]:
    """List the convolutions that a pass of the model runs at an image size, pixels or (height, width)."""
    twin = meta_copy(model).eval()
    seen: dict[str, list[tuple[int, int]]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, args, output: seen.setdefault(name, []).append(_pair(args[0].shape[2:]))

    modules = {name: module for name, module in twin.named_modules() if isinstance(module, nn.Conv2d)}
    channels = image_channels(twin)
    hooks = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    twin(torch.empty(1, channels, *height_width(imgsz), device="meta"))
    for hook in hooks:
        hook.remove()
    return tuple(_run(twin, name, modules[name], sizes) for name, sizes in seen.items())


def _run(model: nn.Module, name: str, module: nn.Conv2d, sizes: list[tuple[int, int]]) -> ConvolutionRun:
    owner = model.get_submodule(name.rpartition(".")[0])
    return ConvolutionRun(
        name=name,
        inputs=module.in_channels,
        outputs=module.out_channels,
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=(0, 0) if isinstance(module.padding, str) else _pair(module.padding),
        dilation=_pair(module.dilation),
        groups=module.groups,
        silu=isinstance(getattr(owner, "act", None), nn.SiLU),
        height=sizes[0][0],
        width=sizes[0][1],
        calls=len(sizes),
    )


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of what PyTorch keeps as any number of numbers."""
    height, width = sizes
    return height, width

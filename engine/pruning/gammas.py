"""The BatchNorm scale factors of a model."""

from __future__ import annotations

from torch import nn

from engine.profile.gammas import LayerGammas


def collect_gammas(model: nn.Module) -> tuple[LayerGammas, ...]:
    """Return |gamma| of every BatchNorm layer with learned gammas, in the model's order."""
    return tuple(
        LayerGammas(name, module.weight.detach().abs().double().cpu().numpy())
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None
    )

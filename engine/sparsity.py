"""Sparse training: drive the gammas of channels that matter little to zero while the rest trains on.

All three ways act on exactly the channels that the channel graph calls prunable, and tied channels share one
decision. They hang on the optimizer's own step hooks, so they work under mixed precision (gradients are unscaled and
clipped by then, and skipped steps are skipped), gradient accumulation and any optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.gammas import NEAR_ZERO, gamma_histogram
from engine.graph import ChannelGraph
from engine.solver import rank, solve

METHODS = ("targeted", "proximal", "classic")
SCHEDULES = ("constant", "linear", "cosine")
LOOK_SHARE = 0.1
"Share of the run in which the targeted method only looks."
SHRINK_END = 0.6
"Share of the run after which the targeted channels are exactly zero."


@dataclass(frozen=True)
class SparsitySettings:
    """How gammas are driven to zero."""

    method: str = "targeted"
    "targeted, proximal or classic; see ``Sparsifier``."
    ratio: float = 0.5
    "Share of the prunable channels that the targeted method drives to zero."
    strength: float = 0.01
    "s of the penalty s * |gamma| (classic, proximal); called sr in the classic scripts."
    schedule: str = "constant"
    "How the strength runs over the training: constant, linear (down to 10 %) or cosine (down to 10 %)."

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TrainingError(f"There is no sparse training method {self.method!r}; use {', '.join(METHODS)}.")
        if self.schedule not in SCHEDULES:
            raise TrainingError(f"There is no schedule {self.schedule!r}; use {', '.join(SCHEDULES)}.")
        if not 0 < self.ratio <= 0.95:
            raise TrainingError(f"A sparsity ratio of {self.ratio:g} is out of range; use more than 0, at most 0.95.")
        if not self.strength > 0:
            raise TrainingError(f"A penalty strength (sr) of {self.strength:g} does nothing; use a positive number.")

    def strength_at(self, progress: float) -> float:
        """Return the strength at a progress from 0 to 1."""
        if self.schedule == "linear":
            return self.strength * (1 - 0.9 * progress)
        if self.schedule == "cosine":
            return self.strength * (0.1 + 0.9 * (1 + cos(pi * progress)) / 2)
        return self.strength


class Sparsifier:
    """Acts on the BatchNorm parameters of a model around every optimizer step.

    - classic: adds ``s * sign(gamma)`` to gamma's gradient before the step (Network Slimming, arXiv 1708.06519).
    - proximal: after the step, shrinks each tied group of gammas by ``lr * s`` towards zero, in the sense of the group
      lasso: ``gamma *= max(0, 1 - lr * s / rms(group))``, which for a single gamma is the soft threshold (proximal
      gradient; Parikh and Boyd, Proximal Algorithms, section 6.5). Gammas reach exact zero; beta follows once
      gamma is there.
    - targeted: over the first tenth of the run collects ``(gamma dL/dgamma + beta dL/dbeta)^2`` by group (Molchanov
      et al., arXiv 1906.10771), chooses what the solver removes at ``ratio`` by these scores, and fades gamma and beta
      of those groups along a cosine to exactly zero until 60 % of the run (growing regularisation, arXiv 2012.09243,
      and soft filter pruning, arXiv 1808.06866, are its relatives; unlike the latter it never grows back).
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, settings: SparsitySettings) -> None:
        """Find the gammas of a model that has the structure of the graph, on whatever device it is."""
        self.settings = settings
        self.progress = 0.0
        "Share of the run that is done, 0 to 1; set by the trainer before each step."
        self._graph = graph
        norms = [model.get_submodule(layer.name) for layer in graph.layers]
        self._gammas = [norm.weight for norm in norms]
        self._betas = [norm.bias for norm in norms]
        device = self._gammas[0].device
        self._sizes = [len(gamma) for gamma in self._gammas]
        self._groups = torch.from_numpy(np.concatenate([layer.groups for layer in graph.layers])).to(device)  # (N,)
        self._prunable = self._groups > 0
        self._counts = torch.bincount(self._groups, minlength=graph.group_count).clamp(min=1)
        self._scores = torch.zeros(graph.group_count, device=device)
        self._targets: Tensor | None = None  # (N,) bool once the targeted method has chosen
        self._faded = 1.0
        self._handles: list[Any] = []

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Act around every step of the optimizer until ``detach``."""
        self._optimizer = optimizer
        before = {"classic": self._add_subgradient, "targeted": self._look}.get(self.settings.method)
        after = {"proximal": self._shrink, "targeted": self._fade}.get(self.settings.method)
        if before:
            self._handles.append(optimizer.register_step_pre_hook(lambda *_: before()))
        if after:
            self._handles.append(optimizer.register_step_post_hook(lambda *_: after()))

    def detach(self) -> None:
        """Stop acting."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def _add_subgradient(self) -> None:
        strength = self.settings.strength_at(self.progress)
        for gamma, prunable in zip(self._gammas, self._prunable.split(self._sizes), strict=True):
            if gamma.grad is not None:
                gamma.grad.add_(gamma.sign() * prunable, alpha=strength)

    @torch.no_grad()
    def _shrink(self) -> None:
        threshold = self._learning_rate() * self.settings.strength_at(self.progress)
        gammas = torch.cat(self._gammas).float()
        squares = torch.zeros_like(self._scores).index_add_(0, self._groups, gammas**2)
        rms = (squares / self._counts).sqrt()
        factors = (1 - threshold / rms.clamp(min=1e-12)).clamp(min=0)
        factors[0] = 1
        self._scale(self._gammas, factors[self._groups])
        betas = torch.cat(self._betas).float()
        beta_factors = (1 - threshold / betas.abs().clamp(min=1e-12)).clamp(min=0)
        gone = (factors == 0)[self._groups]
        self._scale(self._betas, torch.where(gone, beta_factors, torch.ones_like(beta_factors)))

    def _learning_rate(self) -> float:
        wanted = id(self._gammas[0])
        for group in self._optimizer.param_groups:
            if any(id(parameter) == wanted for parameter in group["params"]):
                return group["lr"]
        raise AssertionError("the optimizer does not train the gammas")

    @torch.no_grad()
    def _look(self) -> None:
        if self._targets is not None or any(gamma.grad is None for gamma in self._gammas):
            return
        products = [
            (gamma * gamma.grad + beta * beta.grad).float() ** 2
            for gamma, beta in zip(self._gammas, self._betas, strict=True)
        ]
        self._scores.index_add_(0, self._groups, torch.cat(products))

    @torch.no_grad()
    def _fade(self) -> None:
        if self._targets is None:
            if self.progress < LOOK_SHARE:
                return
            self._choose()
        position = (self.progress - LOOK_SHARE) / (SHRINK_END - LOOK_SHARE)
        wanted = (1 + cos(pi * min(position, 1.0))) / 2 if position < 1 else 0.0
        factor = min(wanted / self._faded, 1.0) if self._faded else 0.0
        self._faded = wanted
        factors = torch.where(self._targets, factor, 1.0)
        self._scale(self._gammas, factors)
        self._scale(self._betas, factors)

    def _choose(self) -> None:
        plan = solve(rank(self._graph, self._scores.double().cpu().numpy()), self.settings.ratio)
        removed = torch.from_numpy(~plan.keep).to(self._groups.device)
        self._targets = removed[self._groups]

    def _scale(self, parameters: list[nn.Parameter], factors: Tensor) -> None:
        for parameter, factor in zip(parameters, factors.split(self._sizes), strict=True):
            parameter.mul_(factor.to(parameter.dtype))

    @torch.no_grad()
    def carry_zeros(self, average: nn.Module) -> None:
        """Set to zero in an averaged copy of the model (EMA) what is exactly zero in the model itself.

        An average only approaches zero; checkpoints store the average.
        """
        for layer, gamma, beta in zip(self._graph.layers, self._gammas, self._betas, strict=True):
            norm = average.get_submodule(layer.name)
            norm.weight[gamma.to(norm.weight.device) == 0] = 0
            norm.bias[(gamma == 0).to(norm.bias.device) & (beta == 0).to(norm.bias.device)] = 0

    def statistics(self) -> dict[str, Any]:
        """Return what the page shows of the gammas after an epoch: quantiles, shares, histogram, free ratio."""
        gammas = torch.cat([gamma.detach() for gamma in self._gammas]).abs().double().cpu().numpy()
        groups = self._groups.cpu().numpy()
        alive = np.bincount(groups, weights=gammas != 0, minlength=self._graph.group_count) > 0
        edges, counts = gamma_histogram(gammas)
        prunable = groups > 0
        return {
            "median": float(np.median(gammas)),
            "p10": float(np.percentile(gammas, 10)),
            "p90": float(np.percentile(gammas, 90)),
            "below_1e-2": float((gammas < NEAR_ZERO).mean()),
            "zero": float((gammas == 0).mean()),
            "free_ratio": float((~alive[groups] & prunable).sum() / max(prunable.sum(), 1)),
            "histogram": [edges, counts],
        }

"""Sparse training acts around the optimizer's step.

All three ways act on exactly the channels that the channel graph calls prunable, and tied channels share one
decision. They hang on the optimizer's own step hooks, so they work under mixed precision (gradients are unscaled and
clipped by then, and skipped steps are skipped), gradient accumulation and any optimizer. They use PyTorch's foreach
functions, which take the parameters of all layers at once: on a GPU, a kernel for each layer would take longer than the
arithmetic.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from engine.base.errors import TrainingError
from engine.base.events import GammaStatistics
from engine.profile.gammas import NEAR_ZERO, gamma_histogram
from engine.profile.graph import ChannelGraph
from engine.pruning.cost import CostModel
from engine.pruning.solver import PrunePlan, rank, savings, solve, solve_budget
from engine.training.sparsity.settings import LOOK_SHARE, SHRINK_END, SparsitySettings


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    """Return the gradients; zero where the loss did not reach a parameter in this step."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


class Sparsifier:
    """Acts on the BatchNorm parameters of a model around every optimizer step.

    - classic: adds ``s * sign(gamma)`` to gamma's gradient before the step (Network Slimming, arXiv 1708.06519).
    - proximal: after the step, shrinks each tied group of gammas by ``lr * s`` towards zero, in the sense of the group
      lasso: ``gamma *= max(0, 1 - lr * s / rms(group))``, which for a single gamma is the soft threshold (proximal
      gradient; Parikh and Boyd, Proximal Algorithms, section 6.5). Gammas reach exact zero; beta follows once
      gamma is there.
    - targeted: over the first tenth of the run collects ``(gamma dL/dgamma + beta dL/dbeta)^2`` by group (Molchanov
      et al., arXiv 1906.10771) in the steps whose gradients are numbers, chooses what the solver removes at ``ratio``
      by these scores, or for ``budget`` by these scores over what a removal saves of it, and fades gamma and beta of
      those groups along a cosine to exactly zero until 60 % of the run (growing regularisation, arXiv 2012.09243, and
      soft filter pruning, arXiv 1808.06866, are its relatives; unlike the latter it never grows back).
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, settings: SparsitySettings) -> None:
        """Find the gammas of a model that has the structure of the graph, on whatever device it is.

        Raises:
            PlanError: No choice of channels meets the budget.
        """
        self.settings = settings
        self.progress = 0.0
        "Share of the run that is done, 0 to 1; set by the trainer before each step."
        self._graph = graph
        self._gammas: list[Tensor] = [model.get_parameter(f"{layer.name}.weight") for layer in graph.layers]
        self._betas: list[Tensor] = [model.get_parameter(f"{layer.name}.bias") for layer in graph.layers]
        device = self._gammas[0].device
        self._sizes = [len(gamma) for gamma in self._gammas]
        self._groups = torch.from_numpy(np.concatenate([layer.groups for layer in graph.layers])).to(device)  # (N,)
        self._prunable_by_layer = (self._groups > 0).to(self._gammas[0].dtype).split(self._sizes)
        self._counts = torch.bincount(self._groups, minlength=graph.group_count).clamp(min=1)
        self._scores = torch.zeros(graph.group_count, device=device)
        self._steps_seen = torch.zeros((), dtype=torch.int64, device=device)  # those that the scores are made of
        self._targets: Tensor | None = None  # (N,) bool once the targeted method has chosen
        self._faded = 1.0
        self._costs: CostModel | None = None
        if settings.method == "targeted" and settings.budget:
            self._costs = CostModel(graph, model, settings.budget_imgsz)
            self._plan(np.ones(graph.group_count))  # refuses a budget that cannot be met before hours of training
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
        signs = torch._foreach_sign(self._gammas)
        torch._foreach_mul_(signs, self._prunable_by_layer)
        torch._foreach_add_(_gradients(self._gammas), signs, alpha=strength)

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
        if self._targets is not None:
            return
        products = torch._foreach_mul(self._gammas, _gradients(self._gammas))
        torch._foreach_addcmul_(products, self._betas, _gradients(self._betas))
        squares = torch.cat(products).float() ** 2  # (N,)
        # A batch whose gradients are no numbers says nothing about any channel, nor does one whose gradients were
        # clipped to zero because another was infinite. Decided on the device: a GPU does not wait for it.
        usable = torch.isfinite(squares).all() & (squares.sum() > 0)
        self._scores.index_add_(0, self._groups, torch.where(usable, squares, 0.0))
        self._steps_seen += usable

    @torch.no_grad()
    def _fade(self) -> None:
        if self._targets is None:
            if self.progress < LOOK_SHARE:
                return
            self._targets = self._choose()
        position = (self.progress - LOOK_SHARE) / (SHRINK_END - LOOK_SHARE)
        wanted = (1 + cos(pi * min(position, 1.0))) / 2 if position < 1 else 0.0
        factor = min(wanted / self._faded, 1.0) if self._faded else 0.0
        self._faded = wanted
        factors = torch.where(self._targets, factor, 1.0)
        self._scale(self._gammas, factors)
        self._scale(self._betas, factors)

    def _choose(self) -> Tensor:
        """Return the (N,) bool channels that go."""
        seen = self._steps_seen.clone()
        if distributed.is_initialized():
            distributed.broadcast(seen, src=0)  # all go on, or none does
        if not seen:
            raise TrainingError(
                "The gradients of this run's first tenth were no numbers, so there is nothing to choose channels by; "
                "start it anew with a lower learning rate (lr0)."
            )
        removed = torch.from_numpy(~self._plan(self._scores.double().cpu().numpy()).keep).to(self._groups.device)
        if distributed.is_initialized():
            # All processes see the same gradients, and yet one decision is safer than several equal ones.
            removed = removed.to(torch.uint8)
            distributed.broadcast(removed, src=0)
            removed = removed.bool()
        return removed[self._groups]

    def _plan(self, scores: np.ndarray) -> PrunePlan:
        """Return what the solver removes by (G,) scores."""
        budget = self.settings.budget
        if self._costs is None or budget is None:
            return solve(rank(self._graph, scores), self.settings.ratio)
        scores = scores / np.maximum(savings(self._costs, budget), 1e-12)
        return solve_budget(rank(self._graph, scores), self._costs, budget)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run needs to go on as this one would have."""
        targets = self._targets if self._targets is not None else torch.zeros(0, dtype=torch.bool)
        return {
            "scores": self._scores.cpu(),
            "steps_seen": self._steps_seen.cpu(),
            "targets": targets.cpu(),
            "faded": torch.tensor(self._faded),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where the sparsifier that returned the state had been.

        Raises:
            TrainingError: The state belongs to another model.
        """
        if state["scores"].shape != self._scores.shape or len(state["targets"]) not in (0, len(self._groups)):
            raise TrainingError("The saved state of this run belongs to another model; start the run anew.")
        # Version 0.2 counted no steps, and let one that was no number spoil the scores.
        scores = state["scores"] if state["scores"].isfinite().all() else torch.zeros_like(state["scores"])
        self._scores.copy_(scores)
        self._steps_seen.copy_(state.get("steps_seen", scores.any()))
        self._targets = state["targets"].to(self._groups.device) if len(state["targets"]) else None
        self._faded = float(state["faded"])

    def _scale(self, parameters: list[Tensor], factors: Tensor) -> None:
        torch._foreach_mul_(parameters, factors.to(parameters[0].dtype).split(self._sizes))

    @torch.no_grad()
    def agrees(self) -> bool:
        """Whether all training processes hold the very same gammas; each must ask."""
        gammas = torch.cat(self._gammas)
        first = gammas.clone()
        distributed.broadcast(first, src=0)
        # Where training diverged, gammas are not a number on all alike; Ultralytics then goes back an epoch.
        differs = (~torch.isclose(gammas, first, rtol=0, atol=0, equal_nan=True)).any().float()
        distributed.all_reduce(differs, distributed.ReduceOp.MAX)
        return not bool(differs)

    @torch.no_grad()
    def carry_zeros(self, average: nn.Module) -> None:
        """Set to zero in an averaged copy of the model (EMA) what is exactly zero in the model itself.

        An average only approaches zero; checkpoints store the average.
        """
        for layer, gamma, beta in zip(self._graph.layers, self._gammas, self._betas, strict=True):
            weight, bias = (average.get_parameter(f"{layer.name}.{kind}") for kind in ("weight", "bias"))
            weight[gamma.to(weight.device) == 0] = 0
            bias[(gamma == 0).to(bias.device) & (beta == 0).to(bias.device)] = 0

    def statistics(self) -> GammaStatistics:
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

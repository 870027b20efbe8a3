"""What a sparse run can reach, before it starts: how far its penalty pulls a gamma down, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isinf, log10

import streamlit as st

from app import charts
from app.frame.session import dark
from app.words.fields import numeric, setting
from engine.base import numbers
from engine.datasets import check_dataset
from engine.profile.gammas import GammaSummary
from engine.training.sparsity import (
    LOOK_SHARE,
    SHRINK_END,
    Reach,
    SparsitySettings,
    TrainingLength,
    reach,
    strength_to_reach,
)

FEW_STEPS = 100
"Optimizer steps below which gammas hardly move, whatever the strength."
FAR = 4.0
"Reach in medians from which a penalty pulls down the gammas that matter, too."
LARGEST_STRENGTH = numeric(setting("sparsify", "sr"))["max_value"]


@dataclass(frozen=True)
class Outlook:
    """What a sparse run can reach, beside the gammas it starts from."""

    reach: Reach
    median: float
    "Of the checkpoint's |gamma|."
    needed: float | None
    "The strength that reaches zero, None where none can be told."

    @property
    def short(self) -> bool:
        """Whether half of the gammas lie beyond the reach of the penalty."""
        return self.reach.distance < self.median

    @property
    def far(self) -> bool:
        """Whether the penalty reaches so far that it pulls every gamma down."""
        return self.reach.certain and FAR * self.median < self.reach.distance and not isinf(self.reach.distance)

    @property
    def few(self) -> bool:
        """Whether there are too few optimizer steps for gammas to settle."""
        return self.reach.steps < FEW_STEPS


def outlook(settings: SparsitySettings, length: TrainingLength, median: float) -> Outlook:
    """Return what a sparse run can reach from gammas of this median."""
    needed = strength_to_reach(median, settings, length)
    return Outlook(reach(settings, length), median, None if needed is None else rounded_up(needed))


def rounded_up(value: float, digits: int = 2) -> float:
    """Return the next number above that has so few digits: 0.1234 -> 0.13."""
    step = 10.0 ** (floor(log10(value)) - digits + 1)
    return round(ceil(value / step - 1e-9) * step, 12)


def zero_epochs(epochs: int) -> tuple[int, int]:
    """Return the epochs of a targeted run in which the channels are chosen, and in which they have become zero."""
    return max(ceil(LOOK_SHARE * epochs), 1), ceil(SHRINK_END * epochs)


def number(value: float) -> str:
    """Return a gamma with the digits that count: 1.00, 0.68, 0.0081."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def short_sentence(found: Outlook) -> str:
    """Say that a recipe cannot reach zero."""
    return (
        f"No channel is likely to reach zero: in this run a gamma falls by {number(found.reach.distance)} at most, and "
        f"half of them start above {number(found.median)}. Use a larger strength or more epochs."
    )


def far_sentence(found: Outlook) -> str:
    """Say that a recipe pulls down all gammas."""
    return (
        f"This penalty reaches {numbers.exact(found.reach.distance / found.median)} times the median gamma: it pulls "
        "every gamma down together, and accuracy falls with them. The targeted method does not have this."
    )


def few_sentence(found: Outlook, length: TrainingLength) -> str:
    """Say that there are few optimizer steps, and what gives more of them."""
    hint = "More epochs give more"
    if length.nbs > length.batch:
        hint += f", and so does a smaller nominal batch (now {length.nbs}, under Advanced)"
    steps = f"{found.reach.steps} optimizer step{'' if found.reach.steps == 1 else 's'}"
    return f"Only {steps}: gammas have little time to move. {hint}."


@st.cache_data(max_entries=8, ttl=60, show_spinner="Counting the training images…")
def training_images(data: str) -> int:
    """Return how many images the training split of a data set has; raises DatasetError."""
    return check_dataset(data).images.get("train", 0)


def show_outlook(settings: SparsitySettings, length: TrainingLength, gammas: GammaSummary, strength_key: str) -> None:
    """Show what a sparse run can reach; ``strength_key`` names the widget that a press sets to what is needed."""
    found = outlook(settings, length, gammas.median)
    with st.container(border=True):
        st.markdown("**What this run can reach**")
        if settings.method == "targeted":
            _show_targeted(found, length.epochs)
        else:
            _show_penalty(found, gammas, strength_key)
        if found.few:
            st.warning(few_sentence(found, length), icon=":material/hourglass_bottom:")


def targeted_sentence(zero: int, epochs: int) -> str:
    """Return what follows the epoch by whose end the chosen channels are zero, of so many epochs."""
    after = "The epochs after that win back" if zero < epochs else "No epoch is left after that to win back"
    return f"{after} what the fading cost. Every chosen channel reaches exactly zero."


def _show_targeted(found: Outlook, epochs: int) -> None:
    chosen, zero = zero_epochs(epochs)
    with st.grid(3, min_column_width=130):
        st.metric("Chosen in epoch", chosen, help="Until then the run only looks at which channels matter.")
        st.metric("Zero by epoch", f"{zero} of {epochs}", help="The chosen channels fade along a cosine to exactly 0.")
        _show_steps(found)
    st.caption(targeted_sentence(zero, epochs))


def _show_penalty(found: Outlook, gammas: GammaSummary, strength_key: str) -> None:
    with st.grid(3, min_column_width=130):
        distance = found.reach.distance
        st.metric(
            "Can fall by",
            number(distance) if found.reach.certain else f"≤ {number(distance)}",
            help="What a gamma loses over the whole run, where the loss does not hold it up.",
        )
        st.metric("Median gamma", number(found.median), help="Of this model now; half of its channels lie below.")
        _show_steps(found)
    figure = charts.reach_line(found.reach.distance, gammas.p10, gammas.median, gammas.p90, dark=dark())
    st.plotly_chart(figure, config=charts.CONFIG, key="reach line")
    if found.short:
        st.warning(short_sentence(found), icon=":material/trending_flat:")
    elif found.far:
        st.info(far_sentence(found), icon=":material/trending_down:")
    elif not found.reach.certain:
        st.caption("This optimizer rescales the penalty along with the gradient, so how far it gets cannot be told.")
    else:
        st.caption("Far enough: a gamma that the loss does not hold up can reach zero.")
    if (found.short or found.far) and found.needed is not None:
        _offer_strength(found.needed, strength_key)
    elif found.short:
        st.caption("This optimizer rescales the penalty; SGD or the proximal method make the strength count.")


def _show_steps(found: Outlook) -> None:
    st.metric(
        "Optimizer steps",
        f"{found.reach.steps:,}",
        help="Gradients of several batches are gathered for one step where the nominal batch is larger than a batch.",
    )


def _offer_strength(needed: float, key: str) -> None:
    st.button(
        f"Use a strength of {needed:g}",
        key="use strength",
        icon=":material/auto_fix_high:",
        disabled=needed > LARGEST_STRENGTH,
        on_click=st.session_state.__setitem__,
        args=(key, needed),
        help="Reaches one and a half times the median gamma with these epochs, images and learning rate.",
    )

"""The colours that mean something, for the light and the dark theme."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours of one theme, as #rrggbb."""

    before: str
    "What there was."
    after: str
    "What survives; the theme's primary colour."
    floor: str
    "Held by a floor, or removed."
    frozen: str
    "Never pruned."
    better: str
    "A change for the better."
    worse: str
    "A change for the worse."
    text: str
    series: tuple[str, ...]
    "Curves and models over each other, in this order."
    density: tuple[tuple[float, str], ...]
    "From few to many."

    def faded(self, opacity: float) -> str:
        """Return the primary colour with an opacity from 0 to 1."""
        red, green, blue = (int(self.after[start : start + 2], 16) for start in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


_LIGHT = Palette(
    before="#d5d9e6",
    after="#4f46e5",
    floor="#d97706",
    frozen="#64748b",
    better="#15803d",
    worse="#b91c1c",
    text="#1e2233",
    series=("#4f46e5", "#d97706", "#0d9488", "#db2777", "#0284c7", "#64748b"),
    density=((0.0, "#eef0fb"), (0.25, "#c3c5f7"), (0.5, "#8b87f0"), (0.75, "#4f46e5"), (1.0, "#251f7a")),
)
_DARK = Palette(
    before="#39415c",
    after="#818cf8",
    floor="#fbbf24",
    frozen="#94a3b8",
    better="#4ade80",
    worse="#f87171",
    text="#e6e8f2",
    series=("#818cf8", "#fbbf24", "#2dd4bf", "#f472b6", "#38bdf8", "#94a3b8"),
    density=((0.0, "#1d2340"), (0.25, "#343a80"), (0.5, "#5b5fd0"), (0.75, "#949cf9"), (1.0, "#e9ebff")),
)


def palette(dark: bool) -> Palette:
    """Return the colours of a theme."""
    return _DARK if dark else _LIGHT

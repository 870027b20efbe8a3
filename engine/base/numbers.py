"""Numbers as a person reads them, the same on every page, in the report and on the terminal. Pure functions.

Rates and accuracies are given from 0 to 1. A number that is not known is a dash.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from engine.base.imgsz import pixels

UNKNOWN = "–"
MINUS = "\u2212"
GFLOPS_IMGSZ = 640
"Image size in pixels at which GFLOPs are told, of every model alike, unless another was asked for."
GFLOPS_LABEL = f"GFLOPs at {GFLOPS_IMGSZ} px"
TWO_DECIMALS, THREE_DECIMALS, FACTOR = "%.2f", "%.3f", "%.2f×"
"For columns of a table that stay numbers: of GFLOPs, MB, ms and ratios; of accuracies; of speed-ups."
NO_CHANGE = 0.0005
"Relative changes, and changes of accuracy, that round to nothing."
_UNIT_SPACE = "\u00a0"
"Between a number and its unit, which no line break may tear apart."
# What the encodings of older terminals lack -> what stands for it there.
_PLAINER = {MINUS: "-", UNKNOWN: "-", _UNIT_SPACE: " ", "±": "+-", "×": "x", "→": "->", "…": "..."}


def exact(number: float | None) -> str:
    """Return a count with every digit: '3,011,433'."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def count(number: float | None) -> str:
    """Return a count with three digits: 3011433 as '3.01 M'."""
    if number is None:
        return UNKNOWN
    for unit, size, least in (("G", 1e9, 9.995e8), ("M", 1e6, 9.995e5), ("k", 1e3, 1e4)):
        if abs(number) >= least:
            return f"{_three_digits(number / size)} {unit}"
    return exact(number)


def _three_digits(number: float) -> str:
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def gflops(number: float | None) -> str:
    """Return GFLOPs with two decimals: '8.19'."""
    return UNKNOWN if number is None else f"{number:.2f}"


def gflops_at(number: float | None, imgsz: Any = GFLOPS_IMGSZ) -> str:
    """Return '8.19 GFLOPs at 640 px', empty where the number is not known; the size is always told."""
    return "" if number is None else f"{gflops(number)} GFLOPs at {pixels(imgsz)}"


def score(value: Any) -> str:
    """Return an accuracy with three decimals: '0.716'."""
    return f"{value:.3f}" if isinstance(value, (int, float)) else UNKNOWN


def score_change(change: float | None) -> str:
    """Return a change of accuracy: '+0.012', '−0.002', or '±0.000' where it rounds to nothing."""
    if change is None:
        return UNKNOWN
    return "±0.000" if abs(change) < NO_CHANGE else with_sign(f"{change:+.3f}")


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share as '69.4 %'."""
    return UNKNOWN if share is None else f"{with_sign(f'{100 * share:.{decimals}f}')}{_UNIT_SPACE}%"


def percent_change(change: float | None) -> str:
    """Return a relative change as '−69.4 %', '+2.0 %', or '±0.0 %' where it rounds to nothing."""
    if change is None:
        return UNKNOWN
    number = "±0.0" if abs(change) < NO_CHANGE else with_sign(f"{100 * change:+.1f}")
    return f"{number}{_UNIT_SPACE}%"


def relative(before: float | None, after: float | None) -> float | None:
    """Return the change from one number to another as a share of the first, None where there is none to tell."""
    return None if after is None or not before else after / before - 1


def milliseconds(time_ms: float | None) -> str:
    """Return a time with two decimals: '8.43 ms'."""
    return UNKNOWN if time_ms is None else f"{number_ms(time_ms)}{_UNIT_SPACE}ms"


def number_ms(time_ms: float) -> str:
    """Return a time without its unit, for a column that names it: '8.43'."""
    return f"{time_ms:.2f}"


def megabytes(size_mb: float | None) -> str:
    """Return the size of a file: '6.25 MB'; 1 MB is 1,000,000 bytes."""
    return UNKNOWN if size_mb is None else f"{number_mb(size_mb)}{_UNIT_SPACE}MB"


def number_mb(size_mb: float) -> str:
    """Return the size of a file without its unit, for a column that names it: '6.25'."""
    return f"{size_mb:.2f}"


def ratio(share: float | None) -> str:
    """Return a prune ratio with two decimals: '0.50'."""
    return UNKNOWN if share is None else f"{share:.2f}"


def ratio_bound(share: float) -> str:
    """Return a largest ratio with three decimals, because one more hundredth may be refused: '0.713'."""
    return f"{share:.3f}"


def gflops_bound(number: float) -> str:
    """Return a smallest number of GFLOPs, rounded up to three decimals, so that it can be asked for: '0.567'."""
    return f"{ceil(number * 1000) / 1000:.3f}"


def milliseconds_bound(time_ms: float) -> str:
    """Return a shortest time, rounded up, so that it can be asked for: '12.43 ms'."""
    return milliseconds(ceil(time_ms * 100) / 100)


def short(difference: float) -> str:
    """Return a difference of any size with two or three digits: '131', '0.42' or '2.1e−05'."""
    return with_sign(f"{difference:.1e}" if 0 < abs(difference) < 0.01 else f"{difference:.3g}")


def factor(times: float) -> str:
    """Return a speed-up: '2.31×'."""
    return f"{times:.2f}×"


def gamma(value: float) -> str:
    """Return a scale factor of BatchNorm with three decimals: '0.043'."""
    return with_sign(f"{value:.3f}")


def image_channels(count: int) -> str:
    """Return how many channels images have: '1 channel' or '4 channels'."""
    return f"{count} channel{'' if count == 1 else 's'}"


def with_sign(number: str) -> str:
    """Return a number that Python wrote with a true minus before it."""
    return number.replace("-", MINUS)


def encodable(text: str, encoding: str | None) -> str:
    """Return text that a stream of this encoding can write: plainer signs where it lacks the right ones."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        for sign, plainer in _PLAINER.items():
            text = text.replace(sign, plainer)
        return text.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    return text

"""Numbers are told one way, and by one module alone."""

import re
from pathlib import Path

import pytest

from engine.base import numbers

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (numbers.count(None), "–"), (numbers.count(512), "512"), (numbers.count(16_000), "16.0 k"),
        (numbers.count(867_543), "868 k"), (numbers.count(3_011_433), "3.01 M"), (numbers.count(999_950), "1.00 M"),
        (numbers.exact(3_011_433), "3,011,433"), (numbers.gflops(8.194), "8.19"), (numbers.gflops(257.8), "257.80"),
        (numbers.gflops_at(8.194), "8.19 GFLOPs at 640 px"), (numbers.gflops_at(2.05, 320), "2.05 GFLOPs at 320 px"),
        (numbers.percent(0.6), "60.0_%"), (numbers.percent(0.25, 0), "25_%"), (numbers.percent(None), "–"),
        (numbers.percent_change(-0.694), "−69.4_%"), (numbers.percent_change(0.02), "+2.0_%"),
        (numbers.percent_change(0.0), "±0.0_%"), (numbers.score(0.7162), "0.716"), (numbers.score(None), "–"),
        (numbers.score_change(-0.002), "−0.002"), (numbers.score_change(0.0124), "+0.012"),
        (numbers.score_change(-0.0003), "±0.000"), (numbers.milliseconds(8.434), "8.43_ms"),
        (numbers.megabytes(6.254), "6.25_MB"), (numbers.factor(2.306), "2.31×"), (numbers.ratio(0.499), "0.50"),
        (numbers.short(0.0000213), "2.1e−05"), (numbers.short(131.2), "131"), (numbers.short(0), "0"),
    ],
)  # fmt: skip
def test_each_kind_of_number_is_told_one_way(told, text):
    assert told == text.replace("_", "\u00a0")


def test_a_terminal_that_lacks_the_signs_gets_plainer_ones():
    text = "0.716 (−0.012, −69.4\u00a0%) ±0.000 2.31× –"
    assert numbers.encodable(text, "utf-8") == numbers.encodable(text, None) == text
    assert numbers.encodable(text, "ascii") == "0.716 (-0.012, -69.4 %) +-0.000 2.31x -"
    assert numbers.encodable(text, "cp1252") == "0.716 (-0.012, -69.4 %) +-0.000 2.31x -"


# A share or a signed change, or a number with a unit, written on the spot. "%{x:+.3f}" is read by the browser, which
# writes a true minus of its own; "--" stands in styles, whose percentages no person reads.
_ON_THE_SPOT = re.compile(
    r"(?<!%)\{(?!\{x|\{y)[^{}\"]*:[^{}\"]*(%|\+[,]?\.\d[fg])\}|\.\d[fg]\}\s?(MB|ms|GFLOPs)|\}\s?%[^{(]"
)
_IN_THE_BROWSER = re.compile(r"%\{+[^{}]*%\}")
_ELSEWHERE = {"engine/base/numbers.py", "engine/base/files.py"}
"The module itself, and the free space of disks."
_DECIMALS = re.compile(r"(?<!%)(?<!%\{)\{[^{}%]*:[<>]?\d*,?\.\d[fge]\}")
_DRAWN = {
    "app/charts/boxes.py", "app/charts/gammas.py", "app/charts/training.py", "app/training/reach.py",
    "engine/reports/svg.py", "engine/reports/gathering.py", "engine/reports/samples.py",
    "engine/validation/impact/curve.py",
}  # fmt: skip
"Coordinates, confidences in pictures, gammas of a chart's hover, settings as they were given, and keys."


def _sources():
    for folder in ("app", "pages", "engine"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in _ELSEWHERE and not name.startswith(("engine/datasets/", "engine/demo/")):
                for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    yield name, f"{name}:{at}: {line.strip()}", line


def test_no_page_and_no_verb_formats_percent_signs_or_units_of_its_own():
    found = [where for _, where, line in _sources()
             if "--" not in line and (_ON_THE_SPOT.search(line) or _IN_THE_BROWSER.search(line))]  # fmt: skip
    assert [where for where in found if '"formatter"' not in where] == []


def test_decimals_are_formatted_elsewhere_only_where_no_quantity_of_a_model_is_told():
    assert [where for name, where, line in _sources() if name not in _DRAWN and _DECIMALS.search(line)] == []


@pytest.mark.parametrize(
    "line",
    ['f"{share:.1%}"', 'f"{100 * share:.1f} %"', 'f"{change:+.3f}"', 'f"{size:.1f} MB"', '"%{customdata:.0%} of it"'],
)
def test_the_search_finds_what_it_looks_for(line):
    assert _ON_THE_SPOT.search(line) or _IN_THE_BROWSER.search(line)

"""The lock file pins what the loose requirements ask for."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOOSE = [
    line
    for name in ("requirements.txt", "requirements-dev.txt")
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    if line and line[0] not in "#-"
]


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line) for line in lines)
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("line", LOOSE)
def test_a_requirement_is_pinned_to_a_version_that_it_allows(line):
    asked = Requirement(line)
    assert asked.specifier.contains(pinned()[canonicalize_name(asked.name)], prereleases=True)


def test_the_lock_file_names_no_index():
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")

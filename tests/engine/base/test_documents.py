"""Descriptions from outside are read with bounds: each way to make a small file cost much ends in a clause, at once."""

import json
import os
import threading

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.base.documents import (
    MOST_BYTES,
    MOST_DEPTH,
    DocumentError,
    parse_yaml,
    read_bytes,
    read_json,
    read_yaml,
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_no_attack_is_read_as_pyyaml_reads_it(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text) == yaml.safe_load(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_a_clause(text):
    try:
        parse_yaml(text)
    except DocumentError as error:
        assert "\n" not in str(error) and len(str(error)) < 250


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(), "stands for more than 200,000 values"),
        ("a: &a [*a]", "refers to itself"),
        ("a: &a {b: *a}", "refers to itself"),
        ("[" * 5000, f"nested more than {MOST_DEPTH} deep"),
        ("{a: " * 5000, f"nested more than {MOST_DEPTH} deep"),
        ("- " * 3000 + "x", f"nested more than {MOST_DEPTH} deep"),
        ("nc: 0x" + "f" * 100_000, "a number too large"),
        ("nc: " + "9" * 4000, "a number too large"),
        ("nc: " + "9" * 5000, "is not valid YAML"),
        ("nc: " + ":".join(["59"] * 2000), "a number too large"),
        ("when: !!timestamp 2026-13-45", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML (line 1)"),
        ("a: b: c", "is not valid YAML (line 1)"),
        ("a: \x07", "is not text"),
    ],
    ids=lambda value: value[:12],
)
def test_a_document_that_costs_more_than_it_is_worth_is_refused(text, words):
    with pytest.raises(DocumentError) as refused:
        parse_yaml(text)
    assert words in str(refused.value)


def test_references_and_repeated_keys_are_refused_where_they_are_not_wanted():
    assert parse_yaml("a: &x 1\nb: *x") == {"a": 1, "b": 1} and parse_yaml("a: 1\na: 2") == {"a": 2}
    with pytest.raises(DocumentError, match=r"references.*line 2"):
        parse_yaml("a: &x 1\nb: *x", references=False)
    with pytest.raises(DocumentError, match="'a' stands there twice"):
        parse_yaml("a: 1\na: 2", repeated_keys=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_or_a_device_is_no_file_and_nobody_waits_for_it(tmp_path):
    pipe = tmp_path / "data.yaml"
    os.mkfifo(pipe)
    told = []

    def read():
        for path in (pipe, "/dev/zero", tmp_path):
            try:
                read_bytes(path)
            except (DocumentError, OSError) as error:
                told.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert len(told) == 3 and told[:2] == ["is no ordinary file"] * 2


def test_a_large_file_is_refused_before_it_is_read_whole(tmp_path):
    large = tmp_path / "large.yaml"
    with open(large, "wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no space
    with pytest.raises(DocumentError, match="larger than 1,024 KB"):
        read_yaml(large)
    large.write_bytes(b"#" * MOST_BYTES)
    assert read_yaml(large) is None


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "1" * 5000, "\xff"])
def test_json_is_refused_alike(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DocumentError):
        read_json(path)
    path.write_text(json.dumps({"a": [1, None]}))
    assert read_json(path) == {"a": [1, None]}

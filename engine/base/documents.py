"""Text, YAML and JSON from outside, read with bounds: a description of a few hundred bytes must not stop a server.

YAML may refer to what it said before (``*name``), so that a small file stands for a large one; a name may be that of a
pipe or a device, which is read without end. What is wrong is told as a clause for a sentence that begins with a name.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 20
"Of a description: the longest that Ultralytics ships (Objects365, LVIS) have some 30 KB."
MOST_DEPTH = 20
MOST_VALUES = 200_000
"Counted as often as references repeat them."
MOST_BITS = 64
"Of a whole number."


class DocumentError(ValueError):
    """What is wrong with a document, as a clause: 'is not valid YAML (line 3)'."""


def read_bytes(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> bytes:
    """Return what a file holds.

    Raises:
        DocumentError: it is none that ends, such as a pipe or a device, or is larger than ``most_bytes``.
        OSError: as ``open``.
    """
    # A pipe without a writer would wait for one when it is opened.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DocumentError("is no ordinary file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise DocumentError(f"is larger than {most_bytes // 1024:,} KB")
    return content


def read_yaml(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Return what a YAML file says; characters that are not UTF-8 are left out, as Ultralytics does.

    Raises:
        DocumentError: it is too large, nested too deeply, or no YAML.
        OSError: as ``open``.
    """
    return parse_yaml(read_bytes(path, most_bytes).decode("utf-8", errors="ignore"))


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Return what a JSON file says.

    Raises:
        DocumentError: it is too large, nested too deeply, or no JSON.
        OSError: as ``open``.
    """
    try:
        return json.loads(read_bytes(path, most_bytes))
    except RecursionError as error:
        raise DocumentError("is nested too deeply") from error
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError("is not valid JSON") from error


def parse_yaml(text: str, *, references: bool = True, repeated_keys: bool = True) -> Any:
    """Return what YAML says, made of plain values alone.

    Args:
        text: The document.
        references: Whether it may refer to what it said before.
        repeated_keys: Whether the last of several equal keys counts, as it does for PyYAML.

    Raises:
        DocumentError: names the line and what is wrong there.
    """
    loader = _Loader(text.removeprefix("\ufeff"))
    loader.references, loader.repeated_keys = references, repeated_keys
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" (line {mark.line + 1})" if mark else ""
        reason = f": {' '.join(str(problem).split())[:120]}" if problem else ""
        raise DocumentError(f"is not valid YAML{where}{reason}") from error
    except DocumentError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        # PyYAML passes on what Python raises at values such as !!timestamp of month 13.
        raise DocumentError("is not valid YAML") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Safe YAML with bounds on depth, on values counted as often as they are referred to, and on numbers."""

    references = True
    repeated_keys = True

    def __init__(self, text: str) -> None:
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            raise DocumentError(f"is not text: it holds the character {error.character:#x}") from error
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        refers = self.check_event(yaml.AliasEvent)
        if refers and not self.references:
            raise DocumentError(f"uses references (*name), which are not read here{self._line()}")
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise DocumentError(f"is nested more than {MOST_DEPTH} deep{self._line()}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if refers and id(node) not in self._sizes:
            raise DocumentError("refers to itself")
        if node is not None and not refers:
            self._sizes[id(node)] = self._size(node)
        return node

    def _size(self, node: yaml.Node) -> int:
        """Return how many values a node stands for."""
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        size = 1 + sum(self._sizes[id(child)] for child in children)
        if size > MOST_VALUES:
            raise DocumentError(f"stands for more than {MOST_VALUES:,} values")
        return size

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if not self.repeated_keys and isinstance(node, yaml.MappingNode):
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if repeated := [key for key, times in keys.items() if times > 1]:
                raise DocumentError(f"is not valid YAML: {repeated[0][:40]!r} stands there twice")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > MOST_BITS:
            raise DocumentError(f"holds a number too large to mean something (line {node.start_mark.line + 1})")
        return value

    def _line(self) -> str:
        return f" (line {self.peek_event().start_mark.line + 1})"


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

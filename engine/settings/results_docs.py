"""Writes docs/results.md and docs/results.schema.json: ``python -m engine.settings.results_docs``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from engine.base.files import write_text_atomic
from engine.settings.results import RESULTS, RecipeList, Result

DOCS = Path(__file__).resolve().parents[2] / "docs"
_REFERENCE = "#/$defs/{model}"
_INTRODUCTION = """# Results

What every verb returns: `yolo-slim VERB --json` prints it, a job keeps it, and `engine.verbs.run_verb` returns it as a
frozen model of `engine.settings.results`. Names never change their meaning; later versions add some. What is marked as
optional may be missing. The same as a JSON schema is [results.schema.json](results.schema.json). This page is made by
`python -m engine.settings.results_docs`.
"""


class _Untitled(GenerateJsonSchema):
    """Leaves out titles, which only repeat the fields' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """Return the JSON schema: ``$defs`` by model, and under ``verbs`` which of them a verb returns."""
    models: list[type[BaseModel]] = list(dict.fromkeys([Result, *RESULTS.values(), RecipeList]))
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in models]
    _, definitions = models_json_schema(asked, ref_template=_REFERENCE, schema_generator=_Untitled)
    verbs = {verb: {"$ref": _REFERENCE.format(model=model.__name__)} for verb, model in RESULTS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the verbs return",
        "anyOf": [{"$ref": _REFERENCE.format(model=model.__name__)} for model in models],
        "verbs": {**verbs, "run --list": {"$ref": _REFERENCE.format(model=RecipeList.__name__)}},
        "$defs": definitions["$defs"],
    }


def page() -> str:
    """Return the same for a person: what all results have, a table for every verb, and one for each part of them."""
    described = schema()
    models, verbs = described["$defs"], described["verbs"]
    common = models[Result.__name__]["properties"]
    by_model: dict[str, list[str]] = {Result.__name__: ["Every verb"]}
    for verb, reference in verbs.items():
        by_model.setdefault(_named(reference), []).append(verb)
    sections = [
        _section(", ".join(told), models[model], {} if model == Result.__name__ else common)
        for model, told in by_model.items()
    ]
    parts = [_section(model, models[model], {}) for model in models if model not in by_model]
    return "\n".join([_INTRODUCTION, *sections, "# Parts\n", *parts])


def _section(title: str, model: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return the table of a model, without those of its fields that are ``known``."""
    return "\n".join([f"## {title}\n", _one_line(model.get("description", "")), "", *_table(model, known)]) + "\n"


def _table(model: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    if "properties" not in model:
        yield f"A {_words(model)}."
        return
    yield "| name | type | meaning |"
    yield "|---|---|---|"
    required = model.get("required", ())
    for name, field in model["properties"].items():
        if known.get(name) == field:
            continue
        kind = _words(field) + ("" if name in required else ", optional")
        yield f"| `{name}` | {kind} | {_one_line(field.get('description', ''))} |"


def _words(field: Mapping[str, Any]) -> str:
    """Return the type that a schema describes, such as 'list of [Gate](#gate)'."""
    if "$ref" in field:
        return f"[{_named(field)}](#{_named(field).lower()})"
    if "anyOf" in field:
        kinds = [_words(each) for each in field["anyOf"]]
        if kinds[-1] == "null" and "default" in field:  # left out instead
            kinds.pop()
        return " or ".join(dict.fromkeys(kinds))
    if "prefixItems" in field:
        return f"({', '.join(map(_words, field['prefixItems']))})"
    if field.get("type") == "array":
        return f"list of {_words(field['items'])}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"name → {_words(field['additionalProperties'])}"
    return field.get("type", "any")


def _named(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def main() -> None:
    """Write both files."""
    write_text_atomic(DOCS / "results.md", page())
    write_text_atomic(DOCS / "results.schema.json", json.dumps(schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

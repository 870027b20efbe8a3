"""What checkpoint files tell of themselves, kept by their digest, so that no page opens one to show a number."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from engine.workspace.store.database import Database
from engine.workspace.store.records import to_json

_AT_ONCE = 500
"Digests a question; SQLite bounds how many."


class FactsLog(Database):
    """Keep and find what files tell. It belongs to the content of a file, and outlives the model."""

    def file_facts(self, digests: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return digest -> what is kept of the file, without those of which nothing is."""
        wanted = list(dict.fromkeys(digests))
        found: dict[str, dict[str, Any]] = {}
        with self._reading() as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(part))
                rows = connection.execute(f"SELECT digest, facts FROM file_facts WHERE digest IN ({marks})", part)
                found |= {row["digest"]: json.loads(row["facts"]) for row in rows}
        return found

    def keep_file_facts(self, digest: str, facts: dict[str, Any]) -> None:
        """Keep what a file tells; the count of parameters of a model that was registered without one is filled in."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO file_facts (digest, facts, created_at) VALUES (?, ?, ?)",
                (digest, to_json(facts), self._now()),
            )
            connection.execute(
                "UPDATE models SET params = ? WHERE digest = ? AND params IS NULL", (facts.get("params"), digest)
            )

"""The models of a workspace: files with a name, a parent and a history."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import Any

from engine.errors import JobError, StorageError
from engine.files import copy_file_atomic, file_digest, safe_name, writing_to
from engine.store.database import Database
from engine.store.records import MODEL_KINDS, Model, model_from_row, to_json
from engine.store.uses import why_needed

NAME_LENGTH = 120
"Characters of a model's name at most; longer ones lose their middle."
# Parents first; a parent always exists before its child, so the walk ends.
_LINEAGE = """
WITH RECURSIVE line(id, parent_id, depth) AS (
    SELECT id, parent_id, 0 FROM models WHERE id = ?
    UNION ALL
    SELECT models.id, models.parent_id, line.depth + 1 FROM models JOIN line ON models.id = line.parent_id
)
SELECT models.* FROM models JOIN line ON models.id = line.id ORDER BY line.depth DESC
"""


class ModelRegistry(Database):
    """Register, find, rename and delete models."""

    def add_model(
        self,
        path: str | Path,
        name: str,
        kind: str,
        *,
        parent_id: str | None = None,
        made: dict[str, Any] | None = None,
        params: int | None = None,
        metrics: dict[str, Any] | None = None,
        copy: bool = True,
    ) -> Model:
        """Register the file at ``path``, copied into the workspace unless ``copy`` is off, and return its model.

        A file whose content is registered already is not added again: the existing model is returned, with its file
        put back if it was lost. A parent that was deleted meanwhile counts as none.

        Raises:
            StorageError: the file cannot be read, or the workspace cannot be written.
            ValueError: ``kind`` is not one of MODEL_KINDS.
        """
        if kind not in MODEL_KINDS:
            raise ValueError(f"{kind!r} is not a kind of model: expected one of {', '.join(MODEL_KINDS)}")
        source = Path(path).absolute()
        digest = file_digest(source)
        if existing := self.model_by_digest(digest):
            if not existing.path.is_file():
                copy_file_atomic(source, existing.path)
            return existing
        model_id = secrets.token_hex(4)
        target = source
        if copy:
            target = copy_file_atomic(source, self.models_folder / f"{safe_name(name)}-{model_id}{source.suffix}")
            # The source may have been written to since it was read.
            digest = file_digest(target)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO models (id, name, path, digest, parent_id, made, kind, params, metrics, created_at) "
                "VALUES (?, ?, ?, ?, (SELECT id FROM models WHERE id = ?), ?, ?, ?, ?, ?) "
                "ON CONFLICT (digest) DO NOTHING",
                (
                    model_id,
                    _checked_name(name),
                    self._stored_path(target),
                    digest,
                    parent_id,
                    to_json(made or {}),
                    kind,
                    params,
                    to_json(metrics or {}),
                    self._now(),
                ),
            )
            row = connection.execute("SELECT * FROM models WHERE digest = ?", (digest,)).fetchone()
        model = model_from_row(row, self.folder)
        if copy and model.id != model_id:
            target.unlink(missing_ok=True)
        return model

    def models(self) -> list[Model]:
        """Return every model, the newest first."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM models ORDER BY number DESC").fetchall()
        return [model_from_row(row, self.folder) for row in rows]

    def model(self, model_id: str) -> Model:
        """Return one model. Raises StorageError when there is none of this id."""
        with self._reading() as connection:
            return model_from_row(_row_of(connection, model_id), self.folder)

    def model_by_digest(self, digest: str) -> Model | None:
        """Return the model whose file has this SHA-256, if it is registered."""
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM models WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else model_from_row(row, self.folder)

    def rename_model(self, model_id: str, name: str) -> Model:
        """Give the model another name; its file keeps its own. Raises StorageError for an empty name."""
        return self._change_model(model_id, "name", _checked_name(name))

    def update_metrics(self, model_id: str, metrics: dict[str, Any]) -> Model:
        """Add ``metrics`` to those of the model, replacing those of the same key."""
        with self._writing() as connection:
            known = model_from_row(_row_of(connection, model_id), self.folder).metrics
            connection.execute("UPDATE models SET metrics = ? WHERE id = ?", (to_json({**known, **metrics}), model_id))
        return self.model(model_id)

    def delete_model(self, model_id: str) -> None:
        """Delete the model and its file in the workspace; a file elsewhere stays. Its children stay, without a parent.

        Raises:
            JobError: a job that has not ended, or a recipe that has not finished, needs this model.
            StorageError: there is no such model, or its file cannot be removed (then the model stays).
        """
        with self._writing() as connection:
            model = model_from_row(_row_of(connection, model_id), self.folder)
            if reason := why_needed(connection, model):
                raise JobError(reason)
            connection.execute("DELETE FROM models WHERE id = ?", (model_id,))
            if model.path.parent == self.models_folder:
                with writing_to(self.models_folder):
                    model.path.unlink(missing_ok=True)

    def lineage(self, model_id: str) -> list[Model]:
        """Return the model's ancestors and itself, the oldest ancestor first."""
        with self._reading() as connection:
            _row_of(connection, model_id)
            rows = connection.execute(_LINEAGE, (model_id,)).fetchall()
        return [model_from_row(row, self.folder) for row in rows]

    def _change_model(self, model_id: str, column: str, value: object) -> Model:
        with self._writing() as connection:
            _row_of(connection, model_id)
            connection.execute(f"UPDATE models SET {column} = ? WHERE id = ?", (value, model_id))
        return self.model(model_id)

    def _stored_path(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


def _row_of(connection: sqlite3.Connection, model_id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM models WHERE id = ?", (model_id,)).fetchone()
    if row is None:
        raise StorageError(f"There is no model {model_id} in this workspace: it may have been deleted; choose another.")
    return row


def _checked_name(name: str) -> str:
    if not (words := " ".join(name.split())):
        raise StorageError("A model needs a name: type at least one character.")
    if len(words) > NAME_LENGTH:  # names grow with every step; what tells relatives apart stands at both ends
        words = f"{words[: NAME_LENGTH // 2 - 1].rstrip()}…{words[-NAME_LENGTH // 2 :].lstrip()}"
    return words

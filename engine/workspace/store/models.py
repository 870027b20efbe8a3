"""The models of a workspace: files with a name, a parent and a history."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import Any

from engine.base.errors import JobError, StorageError
from engine.base.files import copy_file_atomic, file_digest, safe_name, writing_to
from engine.workspace.store.database import Database
from engine.workspace.store.records import MODEL_KINDS, Dependants, Model, Registered, model_from_row, to_json
from engine.workspace.store.uses import dependants, is_missed, why_needed

NAME_LENGTH = 120
"Characters of a model's name at most; longer ones lose their middle."
_NO_MODEL = "There is no model {} in this workspace: it may have been deleted; choose another."
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

    def add_model(self, path: str | Path, name: str, kind: str, **told: Any) -> Model:
        """Register a file and return its model, whether or not it was here before; all else as ``register``."""
        return self.register(path, name, kind, **told).model

    def register(
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
    ) -> Registered:
        """Register the file at ``path``, copied into the workspace unless ``copy`` is off.

        A file whose content is registered already is not added again: the existing model is returned as it is called,
        with its file put back where it was lost or deleted. A parent that is not known any more counts as none.

        Raises:
            StorageError: the file cannot be read, or the workspace cannot be written.
            ValueError: ``kind`` is not one of MODEL_KINDS.
        """
        if kind not in MODEL_KINDS:
            raise ValueError(f"{kind!r} is not a kind of model: expected one of {', '.join(MODEL_KINDS)}")
        source = Path(path).absolute()
        digest = file_digest(source)
        if existing := self.model_by_digest(digest):
            return self._known(existing, source)
        model_id = secrets.token_hex(4)
        target = source
        if copy:
            target = copy_file_atomic(source, self.models_folder / f"{safe_name(name)}-{model_id}{source.suffix}")
            # The source may have been written to since it was read.
            digest = file_digest(target)
        facts = {"kind": kind, "params": params, "made": to_json(made or {}), "metrics": to_json(metrics or {})}
        place = {"name": _checked_name(name), "path": self._stored_path(target), "digest": digest}
        model = self._inserted({"id": model_id, **place, **facts}, parent_id)
        if model.id == model_id:
            return Registered(model, "new")
        # Another process registered the same content meanwhile.
        registered = self._known(model, target)
        if copy:
            target.unlink(missing_ok=True)
        return registered

    def _inserted(self, columns: dict[str, Any], parent_id: str | None) -> Model:
        """Return the model of a digest: a new one of these columns, unless another process was first."""
        with self._writing() as connection:
            columns = {**columns, "created_at": self._now()}
            connection.execute(
                f"INSERT INTO models ({', '.join(columns)}, parent_id) "
                f"VALUES ({', '.join('?' * len(columns))}, (SELECT id FROM models WHERE id = ?)) "
                "ON CONFLICT (digest) DO NOTHING",
                (*columns.values(), parent_id),
            )
            row = connection.execute("SELECT * FROM models WHERE digest = ?", (columns["digest"],)).fetchone()
        return model_from_row(row, self.folder)

    def _known(self, model: Model, source: Path) -> Registered:
        """Return a model that is registered, its file put back from ``source`` if it is gone."""
        lost = not model.path.is_file()
        if not lost and not model.deleted:
            return Registered(model, "known")
        if lost:  # to its old place, where the commands that need it look for it
            copy_file_atomic(source, model.path)
        with self._writing() as connection:
            connection.execute("UPDATE models SET deleted_at = NULL WHERE id = ?", (model.id,))
        return Registered(self.model(model.id), "revived")

    def models(self, *, deleted: bool = False) -> list[Model]:
        """Return every model, the newest first; with ``deleted`` also those of which only the record is left."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM models ORDER BY number DESC").fetchall()
        models = [model_from_row(row, self.folder) for row in rows]
        return [model for model in models if deleted or not model.deleted]

    def model(self, model_id: str) -> Model:
        """Return one model. Raises StorageError when there is none of this id, or its file was deleted."""
        with self._reading() as connection:
            return model_from_row(_row_of(connection, model_id), self.folder)

    def model_by_digest(self, digest: str) -> Model | None:
        """Return the model whose file has this SHA-256, if it is registered; one that was deleted counts too."""
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM models WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else model_from_row(row, self.folder)

    def rename_model(self, model_id: str, name: str) -> Model:
        """Give the model another name; its file keeps its own. Raises StorageError for an empty name."""
        name = _checked_name(name)
        with self._writing() as connection:
            _row_of(connection, model_id)
            connection.execute("UPDATE models SET name = ? WHERE id = ?", (name, model_id))
        return self.model(model_id)

    def delete_model(self, model_id: str) -> None:
        """Delete the model and its file in the workspace; a file elsewhere stays.

        Where others descend from it, or name it in the settings that made them, its record stays as a placeholder, see
        ``models(deleted=True)``. The same file, registered again, brings the model back. A placeholder that nobody
        misses any more goes with the last one who did.

        Raises:
            JobError: a job that has not ended, or a recipe that has not finished, needs this model.
            StorageError: there is no such model, or its file cannot be removed (then the model stays).
        """
        with self._writing() as connection:
            model = model_from_row(_row_of(connection, model_id), self.folder)
            if reason := why_needed(connection, model):
                raise JobError(reason)
            if is_missed(connection, model):
                connection.execute("UPDATE models SET deleted_at = ? WHERE id = ?", (self._now(), model_id))
            else:
                connection.execute("DELETE FROM models WHERE id = ?", (model_id,))
                self._forget_unmissed(connection)
            if model.path.parent == self.models_folder:
                with writing_to(self.models_folder):
                    model.path.unlink(missing_ok=True)

    def dependants(self, model_id: str) -> Dependants:
        """Return what would miss the model if it were deleted. Raises StorageError when there is none of this id."""
        with self._reading() as connection:
            return dependants(connection, model_from_row(_row_of(connection, model_id), self.folder))

    def _forget_unmissed(self, connection: sqlite3.Connection) -> None:
        """Delete the placeholders that nobody misses; each may have been missed by another one of them."""
        rows = connection.execute("SELECT * FROM models WHERE deleted_at IS NOT NULL").fetchall()
        placeholders = [model_from_row(row, self.folder) for row in rows]
        while unmissed := [model for model in placeholders if not is_missed(connection, model)]:
            for model in unmissed:
                connection.execute("DELETE FROM models WHERE id = ?", (model.id,))
            placeholders = [model for model in placeholders if model not in unmissed]

    def lineage(self, model_id: str) -> list[Model]:
        """Return the model's ancestors and itself, the oldest first; of those that were deleted, the record.

        Raises:
            StorageError: there is no model of this id.
        """
        with self._reading() as connection:
            rows = connection.execute(_LINEAGE, (model_id,)).fetchall()
        if not rows:
            raise StorageError(_NO_MODEL.format(model_id))
        return [model_from_row(row, self.folder) for row in rows]

    def _stored_path(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


def _row_of(connection: sqlite3.Connection, model_id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM models WHERE id = ?", (model_id,)).fetchone()
    if row is None:
        raise StorageError(_NO_MODEL.format(model_id))
    if row["deleted_at"] is not None:
        raise StorageError(f"{row['name']} was deleted from this workspace; open its file again, or choose another.")
    return row


def _checked_name(name: str) -> str:
    if not (words := " ".join(name.split())):
        raise StorageError("A model needs a name: type at least one character.")
    if len(words) > NAME_LENGTH:  # names grow with every step; what tells relatives apart stands at both ends
        words = f"{words[: NAME_LENGTH // 2 - 1].rstrip()}…{words[-NAME_LENGTH // 2 :].lstrip()}"
    return words

"""The chains of a workspace: recipes that run as one job after the other."""

from __future__ import annotations

import secrets
from typing import Any

from engine.base.errors import JobError
from engine.workspace.store.database import Database
from engine.workspace.store.records import Chain, Job, chain_from_row, job_from_row, to_json
from engine.workspace.store.uses import require_model


class ChainRegistry(Database):
    """Register and find chains. Which job a chain follows is changed by ``add_job`` alone, with a place."""

    def add_chain(self, recipe: dict[str, Any], title: str, base: dict[str, Any], base_model_id: str | None) -> Chain:
        """Register a chain that stands at its first step, without a job, and return it.

        Raises:
            JobError: there is no model ``base_model_id``, or it was deleted.
        """
        chain_id = secrets.token_hex(4)
        with self._writing() as connection:
            require_model(connection, base_model_id)
            connection.execute(
                "INSERT INTO chains (id, title, recipe, base, base_model_id, step, steps, created_at) "
                "VALUES (?, ?, ?, ?, ?, 1, ?, ?)",
                (chain_id, title, to_json(recipe), to_json(base), base_model_id, len(recipe["steps"]), self._now()),
            )
        return self.chain(chain_id)

    def chains(self) -> list[Chain]:
        """Return every chain, the newest first."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM chains ORDER BY number DESC").fetchall()
        return [chain_from_row(row) for row in rows]

    def chain(self, chain_id: str) -> Chain:
        """Return one chain. Raises JobError when there is none of this id."""
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM chains WHERE id = ?", (chain_id,)).fetchone()
        if row is None:
            raise JobError(f"There is no chain {chain_id} in this workspace: choose another.")
        return chain_from_row(row)

    def chain_jobs(self, chain_id: str) -> list[Job]:
        """Return the jobs of a chain that have not been deleted, the oldest first; a retried step has several."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM jobs WHERE chain_id = ? ORDER BY number", (chain_id,)).fetchall()
        return [job_from_row(row) for row in rows]

    def ready_chains(self) -> list[Chain]:
        """Return the chains whose step is done and which have another one to go, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT chains.* FROM chains JOIN jobs ON jobs.id = chains.job_id "
                "WHERE jobs.state = 'done' AND chains.step < chains.steps ORDER BY chains.number"
            ).fetchall()
        return [chain_from_row(row) for row in rows]

"""The worker's side of progress: events into the store in batches, and the person's wish to stop out of it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable

from engine.base.errors import StopRequested, StorageError
from engine.base.events import AnyEvent
from engine.workspace.store import Store

_BEAT_S = 1.0
_AT_ONCE = ("epoch", "start", "status")
# What is kept for later while the store cannot be written; the oldest go first.
_BACKLOG = 10_000


class EventWriter:
    """The ``Report`` that a verb is given: call it with an event.

    Steps are written at most once a second, epochs and statuses at once. Each time, the wish to stop is looked up, and
    from then on every call raises StopRequested: a verb may let it pass, or catch it and return what it has. A store
    that cannot be written for a while delays events; it does not end hours of training.
    """

    def __init__(
        self, store: Store, job_id: str, clock: Callable[[], float] = time.monotonic, pid: int | None = None
    ) -> None:
        """Report for a job; ``pid`` is the process that does it, which others take over from when it is resumed."""
        self._store = store
        self._job_id = job_id
        self._clock = clock
        self._pid = pid
        self._waiting: deque[AnyEvent] = deque(maxlen=_BACKLOG)
        self._written_at = -_BEAT_S
        self.stopped = False

    def __call__(self, event: AnyEvent) -> None:
        """Take one event; raise StopRequested when the job is to end."""
        self._waiting.append(event)
        if event["kind"] == "status":
            print(event["text"], flush=True)
        now = self._clock()
        if event["kind"] in _AT_ONCE or now - self._written_at >= _BEAT_S:
            self._written_at = now
            self.flush()
        if self.stopped:
            raise StopRequested

    def flush(self) -> None:
        """Write what is waiting, and look whether the job is still wanted."""
        if not self._waiting:
            return
        try:
            state = self._store.append_events(self._job_id, list(self._waiting), self._pid)
        except StorageError as error:
            print(f"Progress is written later: {error}", file=sys.stderr, flush=True)
        else:
            self._waiting.clear()
            # Otherwise somebody stopped, deleted or declared it dead, or another process took over.
            self.stopped = self.stopped or state != "running"

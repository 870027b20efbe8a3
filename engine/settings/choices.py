"""What can be chosen by name, as the folders of the engine hold it."""

from __future__ import annotations

from engine.base.entries import entries

CRITERIA = entries("pruning/criteria")
"What scores channels, by name."

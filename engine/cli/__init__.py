"""The terminal: ``python -m engine VERB ...``."""

from engine.cli.main import main

__all__ = ["main"]

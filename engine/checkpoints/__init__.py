"""Checkpoints: opened with bounds, described, saved; the only place that unpickles."""

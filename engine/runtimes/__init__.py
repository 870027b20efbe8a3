"""Runtimes: Ultralytics' own exporter, and sessions that run what it wrote."""

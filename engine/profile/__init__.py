"""Profiles: what an opened checkpoint is to everybody else, as plain arrays and JSON; kept by the file's digest.

``describing`` and ``counting`` read a model and import PyTorch, the others only hold what was read.
"""

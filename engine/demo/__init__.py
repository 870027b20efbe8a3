"""The demo: a drawn data set, and two checkpoints trained on it."""

"""Data sets on a page: choosing one, and whether it fits the current model."""

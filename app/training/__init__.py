"""Training on a page: its settings, and what a sparse run can reach."""

"""The family of a model on a page, and its report."""

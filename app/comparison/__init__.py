"""Models side by side on a page."""

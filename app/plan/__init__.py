"""A plan on a page: its settings, the preview, measured accuracy and predicted latency."""

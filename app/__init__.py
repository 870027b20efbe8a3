"""What the pages share: session, charts, live jobs, words and numbers."""

"""Export on a page: what came out, and the gates that it passed."""

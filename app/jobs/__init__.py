"""Jobs on a page: starting one, following it, and what came out of it."""

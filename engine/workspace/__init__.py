"""The workspace: its database, and what it knows of models and where they come from."""

"""The models of the workspace on a page: adding, opening, deleting."""

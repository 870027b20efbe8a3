"""The frame around every page: menu, sidebar, session and downloads."""

"""Gammas on a page: what a plan does to single layers."""

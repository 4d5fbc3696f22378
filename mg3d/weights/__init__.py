"""Weights on disk: read without running code, matched name by name, written for the hub."""

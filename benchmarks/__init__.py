"""Measurements of time and memory that the README quotes; each prints JSON lines."""

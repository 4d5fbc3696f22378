"""Weights that somebody trained, checked before they are used."""

"""Explanations: which parts of a volume decide a score."""

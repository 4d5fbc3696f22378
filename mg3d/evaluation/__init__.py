"""Evaluation on held-out patients: every score is reported beside a baseline."""

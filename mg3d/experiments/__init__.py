"""Experiments: grids of training runs, whose scores are compared in one table."""

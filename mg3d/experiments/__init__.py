"""Trainings compared with one another."""

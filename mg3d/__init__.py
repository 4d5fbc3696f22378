"""MG-3D, thin and typed: see README.md; heavy imports happen where they are used."""

__version__ = "0.1.0"

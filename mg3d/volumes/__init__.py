"""One scan in HU, on a stated grid, with the way back to its file."""

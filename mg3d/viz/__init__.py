"""From arrays to figures: every function returns the figure and neither shows nor saves it."""

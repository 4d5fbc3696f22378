"""Training: one step, the loop that repeats it, and the training of the embedded text encoder."""

"""From losses to a trained encoder, and the command that makes the embedded text encoder."""

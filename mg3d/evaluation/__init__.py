"""What the encoder is good for: scores on patients it has never seen, each beside its baseline."""

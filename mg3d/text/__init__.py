"""From a report to tokens with their sentence and word, and the frozen encoders that read them."""

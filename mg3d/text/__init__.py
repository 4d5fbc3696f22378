"""From a report to tokens that know their sentence, and the frozen encoders that read them."""

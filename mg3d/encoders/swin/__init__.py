"""The Swin transformer, window by window."""

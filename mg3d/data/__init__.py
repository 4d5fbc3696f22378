"""From a file to a batch: volumes in HU on one grid, reports beside them."""

"""One file per source: from a raw download to volumes on one grid and a manifest."""

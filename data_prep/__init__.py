"""Importers, one file per source: from a raw download to prepared volumes and a manifest."""

"""Preparation: from many raw scans to one prepared folder."""

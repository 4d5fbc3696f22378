"""Many scans to one prepared folder."""

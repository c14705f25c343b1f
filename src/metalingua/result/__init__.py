"""What a run found: on disk, in intervals, in one table, in one figure. Imports no torch."""

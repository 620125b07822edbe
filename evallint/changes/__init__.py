"""Only what is new: diffs, the program as it was before one, and baselines of old findings."""

"""Fixes: from what a rule says of a repair, and the text, to edits."""

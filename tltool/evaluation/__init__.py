"""Numbers that judge classifiers, and points found in maps."""

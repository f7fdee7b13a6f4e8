"""Numbers that evaluate classifiers, and points found in maps."""

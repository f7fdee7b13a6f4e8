"""Numbers that say how good a classifier is. Arrays in, numbers out."""

"""Numbers that judge a classifier."""

"""The demo: a painted survey and the whole journey over it."""

"""Backbones, heads and the classifier made of both."""

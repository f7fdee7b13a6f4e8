"""Kinds of answer: what is told of an image, how it is encoded, learnt and judged."""

"""Kinds of answer: what is said of an image, how it is encoded, learnt, evaluated and shown."""

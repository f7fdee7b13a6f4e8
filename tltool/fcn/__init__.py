"""From a classifier to a fully convolutional network, and how far it can be trusted."""

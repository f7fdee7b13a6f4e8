"""From a classifier to a fully convolutional network, its fidelity, and other formats."""

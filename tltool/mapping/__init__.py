"""From a fully convolutional network and an image to a heatmap."""

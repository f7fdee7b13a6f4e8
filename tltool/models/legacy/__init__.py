"""Opening what Keras 2 saved: the configuration is mended, the weights are taken as they are."""

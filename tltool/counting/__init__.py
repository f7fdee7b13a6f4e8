"""From images and the network of a run to points, counts and their intervals."""

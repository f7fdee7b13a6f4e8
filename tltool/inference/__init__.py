"""Opening networks and images, and asking one for the other."""

"""What is drawn: typeface, shades, the overlay of a map, the frame of an HTML page."""

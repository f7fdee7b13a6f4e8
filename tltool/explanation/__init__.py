"""Where in an image a classifier sees what it says: class activation maps, boxes, their worth."""

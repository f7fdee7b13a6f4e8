"""Cells, tiles and halos of images of any size, and what runs over them."""

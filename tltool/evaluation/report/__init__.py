"""The report of an evaluation: one HTML file to hand on."""

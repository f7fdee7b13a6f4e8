"""The report of an evaluation: one HTML file to hand on."""

REPORT_NAME, MAP_NAME = "report.html", "feature_map.png"

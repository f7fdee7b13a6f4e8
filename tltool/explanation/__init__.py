"""Where a classifier sees the classes it predicts: activation maps, boxes, faithfulness."""

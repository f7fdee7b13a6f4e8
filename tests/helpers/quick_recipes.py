"""Recipes that train for a moment."""

# The quickest: one step or two of a head.
HEAD_RECIPE = {
    "backbone": {"name": "VGG16", "weights": "none"},
    "augment": [],
    "training": {
        "batch_size": 8,
        "stages": [{"train": "head", "epochs": 1, "learning_rate": 1e-3}],
    },
}

# A few blocks train, from random weights.
TINY_RECIPE = {
    "backbone": {"name": "MobileNet", "alpha": 0.25, "weights": "none"},
    "augment": [],
    "training": {
        "batch_size": 8,
        "stages": [
            {"train": {"top": 3}, "epochs": 1, "learning_rate": 1e-3, "batch_norm": "train"}
        ],
    },
}

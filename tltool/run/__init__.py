"""What a run folder holds: its names, the JSON beside a model, how points are found in its maps."""

"""The options that override a recipe, for every command that takes one."""

from typing import Any

from tltool.cli import options

# Those that `read_recipe` takes.
recipe_options = options.together(
    options.option("--recipe", "Installed recipe or YAML file to start from.", "NAME|FILE"),
    options.option("--backbone", "A constructor of keras.applications [MobileNet].", "NAME"),
    options.number("--alpha", "Width multiplier of the MobileNet families."),
    options.option(
        "--weights",
        "Weights of the backbone to start from; RUN/model.keras goes on from a run [imagenet].",
        "imagenet|none|PATH",
    ),
    options.option("--head", "gap, gmp, fc, nin or cam [gap].", "NAME"),
    options.option(
        "--task", "multi-class, binary, multi-label or regression [as DATA is].", "KIND"
    ),
    options.whole("--patch", "Side of the patch [as DATA says].", "PX"),
    options.context,
    options.number("--zoom", "Enlargement before the network sees the image [1].", "FACTOR"),
    options.option(
        "--bands",
        "Bands of the images to use, from 1 [red, green, blue, or all].",
        "N[,N...]",
        type=options.Numbers(int),
    ),
    options.option("--epochs", "Most epochs of each stage.", "N[,N...]", type=options.Numbers(int)),
    options.option(
        "--learning-rate", "Learning rate of each stage.", "X[,X...]", type=options.Numbers(float)
    ),
    options.whole("--batch-size", "Patches in a step [32]."),
    options.option("--loss", "cross-entropy or focal; squared-error or huber for numbers.", "NAME"),
    options.option("--sampling", "as-is, over, under or square-root, by class [as-is].", "HOW"),
    options.option(
        "--deterministic/--no-deterministic",
        "The same weights bit for bit each time, somewhat slower.",
        default=None,
    ),
    options.seed,
    options.option(
        "--set assignments",
        "Set any key of the recipe, such as training.stages.1.epochs=5.",
        "KEY=VALUE",
        multiple=True,
    ),
)


def read_recipe(recipe: str | None, assignments: tuple[str, ...], **values: Any) -> Any:
    """The recipe that the options say, checked without importing TensorFlow."""
    from tltool.augment.entries import check_entries
    from tltool.recipe import override_recipe

    loaded = override_recipe(recipe, assignments, **values)
    # Only now: what the kinds need takes longer to import than a misspelt key to find.
    from tltool.tasks.kinds import check_kinds

    check_kinds(loaded)
    check_entries(loaded.augment)
    return loaded

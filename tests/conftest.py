"""What several test folders need."""

import os
from pathlib import Path

import pytest

from tltool.runtime import quiet_import


@pytest.fixture(scope="session")
def keras():
    return quiet_import("keras")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, where the machine has it."""
    folder = Path(os.environ.get("TLTOOL_SHARED", "../shared"))
    if not (folder / "sealion").is_dir():
        pytest.skip(f"real data not found at {folder.resolve()} (set TLTOOL_SHARED)")
    return folder


# The quickest: one step or two of a head.
HEAD_RECIPE = {
    "backbone": {"name": "VGG16", "weights": "none"},
    "augment": [],
    "training": {"batch": 8, "stages": [{"train": "head", "epochs": 1, "rate": 1e-3}]},
}

# A few blocks train, from random weights.
TINY_RECIPE = {
    "backbone": {"name": "MobileNet", "alpha": 0.25, "weights": "none"},
    "augment": [],
    "training": {
        "batch": 8,
        "stages": [{"train": {"top": 3}, "epochs": 1, "rate": 1e-3, "batch_norm": "train"}],
    },
}


@pytest.fixture(scope="session")
def survey(tmp_path_factory) -> tuple[Path, Path]:
    """A painted photograph as GeoTIFF, and its points."""
    from tltool.showcase.paint import paint_survey

    folder = tmp_path_factory.mktemp("survey")
    images, points = paint_survey(folder, photographs=1, width=640, height=512, animals=40, seed=3)
    return images[0], points


@pytest.fixture(scope="session")
def patch_folder(survey, tmp_path_factory) -> Path:
    """Patches of 32 px with 32 px of context cut from the survey."""
    import tltool

    folder = tmp_path_factory.mktemp("data") / "patches"
    image, points = survey
    tltool.patches([image], points, folder, size=32, context=32)
    return folder


@pytest.fixture(scope="session")
def tiny_run(patch_folder, tmp_path_factory) -> Path:
    """A run folder, trained for an epoch."""
    import tltool

    folder = tmp_path_factory.mktemp("runs") / "run"
    tltool.finetune(patch_folder, folder, tltool.load_recipe(None, TINY_RECIPE))
    return folder

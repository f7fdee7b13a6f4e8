"""What several test folders need."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings
from quick_recipes import TINY_RECIPE

from tltool.runtime import quiet_import

# The workers of a run have a core each: threads beside them only wait, which costs time too.
for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")

# How long an example takes says more of what else the machine does.
settings.register_profile("tltool", deadline=None)
settings.load_profile("tltool")


# Files with tests of `tiny_run`, which one worker makes.
_TINY_RUN = {"test_adapt", "test_evaluate", "test_finetune", "test_heatmap", "test_convert"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one worker run all tests of a file, and of the files that share a run.

    pytest-xdist's own groups are written into test names, which pytest 9 does not read any more.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "tiny_run" if Path(file).stem in _TINY_RUN else file

    return Scheduling(config, log)


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


@pytest.fixture(autouse=True)
def logger_restored():
    """The command line gives the logger handlers and a level, for its process alone."""
    logger = logging.getLogger("tltool")
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(scope="module")
def without_pictures():
    """Most of the time of a small map is its overlay's, of a small conversion its fidelity's."""
    from PIL import Image

    quiet_import("keras")
    from tltool.conversion import fidelity as run
    from tltool.mapping import image_map

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_map, "write_overlay", lambda *_: None)
        patch.setattr(run, "draw_fidelity", lambda *_: Image.new("RGB", (8, 8)))
        yield


@pytest.fixture
def quick_vgg16():
    """Recipes of VGG16 build a few layers."""
    from small_backbones import small_vgg16

    with small_vgg16():
        yield


@pytest.fixture(scope="session")
def survey(tmp_path_factory) -> tuple[Path, Path]:
    """A painted photograph as GeoTIFF, and its points."""
    from tltool.demonstration.paint import paint_survey

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

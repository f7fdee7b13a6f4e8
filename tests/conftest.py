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

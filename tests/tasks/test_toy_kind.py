"""A kind of answer that tltool does not know: made here, registered, and nothing else changed."""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import rasterio
from brightness import RECIPE, brightness_manifest, slope

import tltool
from tltool.recipe import make_recipe
from tltool.runtime import quiet_import
from tltool.tasks.kinds import KINDS, tasks_of
from tltool.tasks.task import Task

quiet_import("keras")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@dataclass(frozen=True)
class Direction(Task):
    """The direction that something points in, degrees; learnt as its sine and cosine."""

    classes: tuple[str, ...] = ("sine", "cosine")

    kind: ClassVar[str] = "direction"

    def encode(self, labels):
        angles = np.radians([np.nan if label is None else label[0] for label in labels])
        return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

    def decide(self, values):
        return np.degrees(np.arctan2(values[:, 0], values[:, 1]))

    def columns(self, top_k=1):
        return ["degrees"]

    def cells(self, outputs, top_k=1):
        return [f"{self.decide(outputs[None])[0]:.1f}"]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(KINDS, "direction", Direction)


def test_a_new_kind_trains_is_evaluated_mapped_and_reported(registered, tmp_path):
    data = brightness_manifest(tmp_path / "data", lambda level, _: f"{160 * level - 80:.1f}")
    recipe = RECIPE | {"task": "direction"}
    recipe["training"] = RECIPE["training"] | {
        "stages": [{"train": "head", "epochs": 60, "learning_rate": 1e-2, "patience": 60}]
    }
    run = tltool.finetune(data, tmp_path / "run", make_recipe(recipe))
    assert run.metrics["test"]["r2"] > 0.5
    assert run.metrics["test"]["mean_absolute_error"] < 30

    found = tltool.evaluate(run.folder, data, report=True, feature_map=False, resamples=50)
    assert found.metrics["kind"] == "direction"
    assert found.metrics["intervals"]["mean_absolute_error"] is not None
    assert "Predicted against true" in (found.folder / "report.html").read_text()
    header = (found.folder / "predictions.csv").read_text().splitlines()[0]
    assert header.split(",")[:3] == ["path", "true_sine", "true_cosine"]

    table = io.StringIO()
    tltool.predict(run.folder, [data.parent / "1.png"]).write(table)
    assert table.getvalue().splitlines()[0] == "image,degrees"

    image = slope(tmp_path / "slope.png")
    made = tltool.heatmap(run.folder, [image], tmp_path / "maps")[0]
    with rasterio.open(made.map_path) as source:
        assert source.descriptions == ("sine", "cosine")
        sine = source.read(1)
    assert np.nanmean(sine[:, -1]) > np.nanmean(sine[:, 0])
    assert made.overlay_path.exists()


def test_a_kind_that_is_gone_is_said_to_be_unknown(tmp_path):
    from tltool.errors import DataError
    from tltool.run.sidecar import Sidecar, TaskFacts

    facts = [TaskFacts(kind="direction", classes=["sine", "cosine"])]
    sidecar = Sidecar(classes=["sine", "cosine"], tasks=facts, patch=8, input_side=8)
    with pytest.raises(
        DataError, match=r"task label: expected a kind among multi-class.*direction"
    ):
        tasks_of(sidecar)

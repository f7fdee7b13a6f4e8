import numpy as np
import pytest

from tltool.conversion.agreement import Comparison
from tltool.conversion.fidelity_picture import _APART, _RING, _WORST, _worst, draw_fidelity
from tltool.raster import ArrayRaster, Raster
from tltool.run.sidecar import Sidecar, TaskFacts
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import write_bands  # noqa: E402

ZOO = TaskFacts(name="zoo", classes=["bird", "none", "seal"])
ALIVE = TaskFacts(name="alive", kind="binary", classes=["no", "yes"])
SIDE = 96


def sidecar_of(*tasks, bands=3, context=0, **facts):
    several = len(tasks) > 1
    classes = [
        f"{task.name}.{name}" if several else name
        for task in tasks
        for name in (task.classes[1:] if task.kind == "binary" else task.classes)
    ]
    geometry = {"patch": 16, "input_side": 16 + 2 * context, "stride": 8.0, "reach": (0, 15)}
    offset = float(context)
    return Sidecar(
        classes=classes,
        tasks=list(tasks),
        bands=bands,
        context=context,
        offset=offset,
        **geometry,
        **facts,
    )


def compared(sidecar, number=20, change=None, seed=0):
    """Equal answers of different cells, but for those that `change` says."""
    rng = np.random.default_rng(seed)
    expected = rng.uniform(0.6, 0.9, (number, len(sidecar.classes)))
    cells = np.stack(np.divmod(rng.permutation(100)[:number], 10), axis=1)
    received = expected.copy()
    for place, values in (change or {}).items():
        received[place] = values
    return Comparison(received, expected, cells, sidecar)


def drawn(found, bands=3, image=None):
    sidecar = found.sidecar
    told = {"fidelity": {"image": "a.tif", **found.numbers()}}
    pixels = np.full((SIDE, SIDE, bands), 90, np.uint8)
    return draw_fidelity(found, image or ArrayRaster(pixels), sidecar.model_copy(update=told))


def ringed(picture):
    """Pixels in the colour of the rings, of the upper part."""
    wanted = [int(_RING[place : place + 2], 16) for place in (1, 3, 5)]
    upper = np.asarray(picture)[: picture.height * 2 // 3].astype(int)
    return int((np.abs(upper - wanted).max(2) <= 12).sum())


def test_rings_stand_where_the_answers_differ_and_nowhere_else():
    sidecar = sidecar_of(ZOO)
    # Far apart, yet the same class: no ring.
    same = {0: [0.99, 0.0, 0.0], 1: [0.0, 0.99, 0.0], 2: [0.0, 0.0, 0.99]}
    agreeing = compared(sidecar, change=same)
    agreeing.expected[:3] = 0.3 + 0.3 * np.eye(3)
    equal = drawn(agreeing)
    assert (equal.mode, *equal.size) == ("RGB", 1300, 1060)
    assert ringed(equal) == 0
    agreeing.received[3] = 1 - agreeing.expected[3]
    agreeing.__dict__.pop("agreed")
    assert ringed(drawn(agreeing)) > 0


@pytest.mark.parametrize("bands", [1, 12])
def test_images_of_any_number_of_bands_are_drawn(bands):
    sidecar = sidecar_of(ALIVE, bands=bands, context=4)
    # Fewer windows than panels.
    picture = drawn(compared(sidecar, bands % 5, change={0: [0.1]}), bands)
    assert (picture.mode, *picture.size) == ("RGB", 1300, 1060)
    assert ringed(picture) > 0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_of_many_bands_and_bits_are_drawn(tmp_path):
    write_bands(tmp_path / "a.tif", 12, "uint16", SIDE)
    # Scores differ by more than the scale has.
    scores = compared(sidecar_of(ZOO, bands=5, scores=True), change={0: [-40.0, 3.0, 900.0]})
    scores.expected[0] = [2.0, 1.0, 0.0]
    with Raster(tmp_path / "a.tif", [7, 9, 2, 1, 3]) as image:
        assert ringed(drawn(scores, image=image)) > 0


def test_several_tasks_ring_where_any_differs():
    sidecar = sidecar_of(ZOO, ALIVE)
    change = {0: [0.9, 0.1, 0.1, 0.1], 1: [0.9, 0.1, 0.1, 0.9]}
    found = compared(sidecar, 4, change)
    found.expected[:2] = [0.9, 0.1, 0.1, 0.9]
    found.expected[2:] = found.received[2:] = [0.2, 0.7, 0.1, 0.2]
    assert ringed(drawn(found)) > 0
    assert [bool(same) for same in found.agreed["alive"]] == [False, True, True, True]


@pytest.mark.parametrize("number", [1, _WORST - 1, _WORST, _WORST + 1])
def test_as_many_of_the_worst_are_drawn_as_there_are(number):
    assert len(_worst(compared(sidecar_of(ALIVE), number))) == min(number, _WORST)


def test_the_worst_windows_answer_otherwise_first_and_then_differ_most():
    sidecar = sidecar_of(ALIVE)
    expected = np.array([[0.9], [0.9], [0.9], [0.52], [0.55], [0.9]])
    received = np.array([[0.8], [0.9], [0.55], [0.48], [0.2], [0.7]])
    cells = 10 * np.stack([np.arange(6), np.zeros(6, int)], axis=1)
    assert _worst(Comparison(received, expected, cells, sidecar)) == [4, 3, 2, 5, 0, 1]


def test_the_worst_windows_lie_apart_where_they_can():
    sidecar, number = sidecar_of(ALIVE), 60
    cells = np.stack([np.arange(number), np.zeros(number, int)], axis=1)
    differences = np.linspace(0.3, 0, number)[:, None]
    found = Comparison(0.6 + differences, np.full((number, 1), 0.6), cells, sidecar)
    assert _worst(found) == [_APART * place for place in range(_WORST)]
    near = Comparison(*(a[:7] for a in (found.received, found.expected, cells)), sidecar)
    assert _worst(near) == [0, 6, 1, 2, 3, 4]

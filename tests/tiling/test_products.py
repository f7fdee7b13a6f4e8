import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.run.sidecar import Sidecar, TaskFacts
from tltool.tiling.products import choose_product


def sidecar(*tasks, background=None, classes=None):
    names = classes or [name for task in tasks for name in task.classes]
    return Sidecar(classes=names, tasks=list(tasks), background=background, patch=4, input_side=4)


ZOO = TaskFacts(classes=["bird", "none", "seal"])
ALIVE = TaskFacts(name="alive", kind="binary", classes=["dead", "alive"])
SEEN = TaskFacts(name="seen", kind="multi-label", classes=["boat", "person"])
ZOO_SIDE = sidecar(ZOO, background="none")


def values(rows=3, columns=4, outputs=3):
    found = np.random.default_rng(0).random((outputs, rows, columns), np.float32)
    found[:, 0, 1] = np.nan
    return found


def test_everything_is_kept_as_it_is_by_default():
    product = choose_product(ZOO_SIDE)
    assert (product.names, product.bands, product.exclusive) == (("bird", "none", "seal"), 3, True)
    assert product.nothing == ("none",)
    np.testing.assert_array_equal(product.stored(values()), values())
    np.testing.assert_array_equal(product.shown(values()[1], 1), values()[1])


def test_some_classes_come_in_the_networks_order_and_do_not_exclude_each_other():
    product = choose_product(ZOO_SIDE, "uint8", ["seal", "bird"])
    assert (product.names, product.nothing, product.exclusive) == (("bird", "seal"), (), False)
    shown = np.stack([product.shown(band, k) for k, band in enumerate(product.stored(values()))])
    np.testing.assert_allclose(shown, values()[[0, 2]], atol=0.5 / 254 + 1e-6)


def test_a_class_map_holds_the_most_probable_class():
    product = choose_product(ZOO_SIDE, argmax=True)
    stored = product.stored(values())
    assert (stored.shape, stored.dtype) == ((1, 3, 4), np.uint8)
    assert stored[0, 0, 1] == 255
    known = ~np.isnan(values()[0])
    np.testing.assert_array_equal(stored[0][known], values().argmax(0)[known])
    assert np.isnan(product.shown(stored[0], 2)[0, 1])
    legend = product.kind.legend
    assert legend.names == ("bird", "none", "seal")
    assert legend.colours[1] == (128, 128, 128)
    assert len(set(legend.colours)) == 3


def test_a_binary_class_map_is_the_second_class_from_a_half_on():
    product = choose_product(sidecar(ALIVE, classes=["alive"]), argmax=True)
    stored = product.stored(np.array([[[0.49, 0.5, np.nan]]], np.float32))
    assert product.names == ("dead", "alive")
    assert stored.tolist() == [[[0, 1, 255]]]


def test_many_classes_take_larger_numbers():
    many = sidecar(TaskFacts(classes=[f"c{k}" for k in range(256)]))
    product = choose_product(many, argmax=True)
    assert product.encoding.dtype == "uint16"
    stored = product.stored(np.eye(256, dtype=np.float32)[:, None])
    np.testing.assert_array_equal(stored[0, 0], np.arange(256))
    few = sidecar(TaskFacts(classes=[f"c{k}" for k in range(255)]))
    assert choose_product(few, argmax=True).encoding.dtype == "uint8"
    with pytest.raises(UsageError, match="`dtype`: expected uint16 for the numbers of 256 classes"):
        choose_product(many, "uint8", argmax=True)


@pytest.mark.parametrize(
    ("facts", "options", "message"),
    [
        (ZOO_SIDE, {"classes": ["seal", "cat"]}, "`classes`: expected some of bird, none.*ed cat"),
        (ZOO_SIDE, {"classes": []}, "`classes`: expected some of bird, none, seal; received none"),
        (ZOO_SIDE, {"dtype": "int8"}, "`dtype`: expected one of float32.*received int8"),
        (ZOO_SIDE, {"argmax": True, "dtype": "float32"}, "`dtype`: expected uint8 or uint16"),
        (ZOO_SIDE, {"argmax": True, "classes": ["bird"]}, "`argmax`: expected all classes"),
        (sidecar(SEEN), {"argmax": True}, "`argmax`: .*received 1 of kind multi-label"),
        (sidecar(ZOO, SEEN), {"argmax": True}, "`argmax`: .*received 2 of kind multi-class"),
    ],
)
def test_what_cannot_be_meant_is_refused(facts, options, message):
    with pytest.raises(UsageError, match=message):
        choose_product(facts, **options)

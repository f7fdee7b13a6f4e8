import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from tltool.explanation.cell_layout import Axis, CellLayout
from tltool.explanation.methods import maps_of
from tltool.explanation.subject import open_subject
from tltool.explanation.superresolution import (
    KINK,
    Energy,
    draw_motions,
    moved_copies,
    moving,
    observe,
    reconstruct,
    reconstruct_maps,
)

PLACEMENT = CellLayout(Axis(5, 40, 8.0), Axis(4, 32, 8.0))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_transpose_is_the_adjoint(seed):
    rng = np.random.default_rng(seed)
    observation = observe(PLACEMENT, 4, seed)
    x = rng.normal(size=observation.forward.shape[1])
    y = rng.normal(size=observation.forward.shape[0])
    left, right = (observation.forward @ x) @ y, x @ (observation.backward @ y)
    assert left == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_the_first_copy_is_not_moved_and_all_keep_a_constant():
    motions = draw_motions(6)
    assert not motions[0].any()
    image = np.random.default_rng(0).random((12, 9))
    assert moving(motions[0], (12, 9)) @ image.ravel() == pytest.approx(image.ravel(), abs=1e-6)
    for motion in motions:
        assert moving(motion, (12, 9)) @ np.ones(108) == pytest.approx(np.ones(108), abs=1e-5)


def test_images_are_moved_as_maps_are():
    image = np.random.default_rng(1).random((40, 32, 2)).astype("float32")
    copies = moved_copies(image, 5)
    for copy, motion in zip(copies, draw_motions(5), strict=True):
        expected = moving(motion, (40, 32)) @ image.reshape(-1, 2)
        # OpenCV rounds places to 1/32 px.
        assert copy.reshape(-1, 2) == pytest.approx(expected, abs=0.04)


def test_fewer_copies_are_told_apart_less_finely():
    # 16 of 24 px: a quarter of a cell's side, and half of that a square.
    layout = CellLayout(Axis(2, 48, 24.0), Axis(2, 50, 24.0))
    observation = observe(layout, 16)
    assert (observation.step, observation.shape) == (3, (16, 17))
    image = np.random.default_rng(0).random((1, 48, 50))
    assert observation.reduce(image).shape == (1, 16, 17)
    assert observation.enlarge(np.ones((1, 16, 17))) == pytest.approx(np.ones((1, 48, 50)))


def test_a_cell_sees_the_mean_of_its_square():
    reduced = PLACEMENT.rows.reducing()
    assert reduced.shape == (5, 40)
    np.testing.assert_allclose(reduced[1], np.repeat([0, 1 / 8, 0], [8, 8, 24]))


def test_the_subgradient_is_the_slope_of_the_energy():
    rng = np.random.default_rng(3)
    observation = observe(PLACEMENT, 4)
    coarse = rng.random((observation.forward.shape[0], 1)).astype("float32")
    energy = Energy(observation, coarse)
    # Neighbours differ by more than the kink, so that there is one slope.
    steps = rng.permutation(np.prod(observation.shape)).reshape(1, *observation.shape)
    maps = (2 * KINK * steps).astype("float64")
    _, slope = energy(maps)
    for place in [(0, 0, 0), (0, 3, 4), (0, *np.subtract(observation.shape, 1))]:
        ahead, behind = maps.copy(), maps.copy()
        ahead[place] += 1e-3
        behind[place] -= 1e-3
        difference = (energy(ahead)[0][0] - energy(behind)[0][0]) / 2e-3
        assert slope[place] == pytest.approx(difference, rel=2e-3, abs=1e-4)


def shape_image(side=64):
    """An L of ones."""
    image = np.zeros((side, side), "float32")
    image[18:46, 20:30] = 1
    image[36:46, 20:50] = 1
    return image


def overlap(heat, true):
    found = heat >= 0.5 * heat.max()
    return (found & true).sum() / (found | true).sum()


def test_reconstruction_recovers_a_shape_from_its_coarse_maps():
    true = shape_image()
    layout = CellLayout(Axis(4, 64, 16.0), Axis(4, 64, 16.0))
    observation = observe(layout, 64)
    assert observation.step == 1
    coarse = (observation.forward @ true.ravel()).reshape(1, 64, 4, 4)
    maps, energies = reconstruct(observation, coarse)
    energies = energies[:, 0]
    assert energies[-1] < 0.8 * energies[0]
    # Downhill as a whole: each tenth of the way ends no higher than the one before.
    assert all(np.diff(energies[::20]) < 0.01 * energies[0])
    plain = overlap(layout.enlarge(coarse[:, 0])[0], true > 0)
    fine = overlap(observation.enlarge(maps)[0], true > 0)
    assert fine > plain + 0.1
    assert fine > 0.75


def brightness_net(side=64, cell=16):
    """The score is the mean brightness; its map has cells of 16 px."""
    inputs = keras.Input((side, side, 1))
    x = layers.Conv2D(1, cell, cell, activation="relu", name="bright")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.layers[1].set_weights([np.full((cell, cell, 1, 1), 1 / 255 / cell**2), np.zeros(1)])
    model.layers[-1].set_weights([np.array([[1, -1]]), np.zeros(2)])
    return model


def test_augmented_gradcam_fits_a_known_shape_better_than_gradcam_enlarged():
    model, true = brightness_net(), shape_image()
    images = 255 * np.stack([true, true[::-1]])[..., None]
    subject = open_subject(model, (64, 64, 1), "bright")
    plain = subject.layout.enlarge(maps_of(model, images, [0, 0], "gradcam", "bright"))
    fine = maps_of(model, images, [0, 0], "augmented-gradcam", "bright")
    assert fine.shape == (2, 64, 64)
    for heat, better, image in zip(plain, fine, images[..., 0], strict=True):
        assert overlap(better, image > 0) > overlap(heat, image > 0) + 0.1
    _, energies = reconstruct_maps(subject, images, np.array([0, 0]))
    assert (energies[-1] < energies[0]).all()


def test_maps_without_heat_stay_so():
    model = brightness_net()
    black = np.zeros((1, 64, 64, 1))
    assert not maps_of(model, black, [0], "augmented-gradcam", "bright").any()

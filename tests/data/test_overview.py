from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tltool.data.dataset import Dataset, Sample
from tltool.data.overview import data_report, report_table
from tltool.errors import ImageError
from tltool.tasks.kinds import make_task

FOLDER = Path("/data")
SPLITS = ("train", "valid", "test")
ANIMAL = make_task("label", ("bear", "lion"))


@dataclass
class Part:
    images: np.ndarray
    samples: list[Sample]
    unreadable: list[ImageError] = field(default_factory=list)


def noise(number, seed=0, high=256):
    return np.random.default_rng(seed).integers(0, high, (number, 40, 50, 3), np.uint8)


def sample(split, place, *labels):
    return Sample(FOLDER / split / f"{place}.png", labels)


def loaded_from(tasks, labels):
    """A dataset and its images, where `labels` has for each split its samples' labels."""
    samples = {
        split: [sample(split, place, *told) for place, told in enumerate(labels.get(split, []))]
        for split in SPLITS
    }
    parts = {
        split: Part(noise(len(own), seed), list(own))
        for seed, (split, own) in enumerate(samples.items())
    }
    return Dataset(FOLDER, tasks, samples), parts


def animals(**counts):
    """Labels of one task: split=(bears, lions)."""
    return {
        split: [((0,),)] * bears + [((1,),)] * lions for split, (bears, lions) in counts.items()
    }


def warnings_of(tasks, labels):
    return data_report(*loaded_from(tasks, labels)).warnings


def test_counts_of_one_task():
    report = data_report(*loaded_from([ANIMAL], animals(train=(9, 6), valid=(3, 3), test=(2, 1))))
    header, rows, numbers = report_table(report)
    assert header == ["class", "train", "valid", "test", "share"]
    assert rows == [
        ["bear", "9", "3", "2", "58.3 %"],
        ["lion", "6", "3", "1", "41.7 %"],
        [""] * 5,
        ["images", "15", "6", "3", ""],
        ["megapixels", "0.03", "0.01", "0.01", ""],
    ]
    assert numbers == [1, 2, 3, 4]
    assert report.warnings == []
    assert report.megapixels["train"] == pytest.approx(15 * 40 * 50 / 1e6)


def test_counts_of_several_tasks():
    tasks = [
        make_task("seen", ("boat", "man"), "multi-label"),
        make_task("day", ("no", "yes"), "binary"),
    ]
    train = [((0, 1), (0,)), ((0,), (1,)), ((), None), ((1,), (1,))] * 5
    report = data_report(*loaded_from(tasks, {"train": train}))
    header, rows, numbers = report_table(report)
    assert header == ["task", "class", "train", "valid", "test", "share"]
    assert rows[:7] == [
        ["seen", "boat", "10", "0", "0", "50.0 %"],
        ["", "man", "10", "0", "0", "50.0 %"],
        ["", "(none of them)", "5", "0", "0", ""],
        ["day", "no", "5", "0", "0", "33.3 %"],
        ["", "yes", "10", "0", "0", "66.7 %"],
        ["", "(not labelled)", "5", "0", "0", ""],
        [""] * 6,
    ]
    assert numbers == [2, 3, 4, 5]
    assert report.warnings == []


def test_unreadable_files_are_counted_and_named():
    dataset, loaded = loaded_from([ANIMAL], animals(train=(8, 8), valid=(6, 2)))
    for split, number in (("train", 1), ("valid", 5)):
        part = loaded[split]
        part.samples, part.images = part.samples[number:], part.images[number:]
        part.unreadable = [ImageError("broken")] * number
    report = data_report(dataset, loaded)
    assert report.warnings == [
        "1 image of train cannot be read and is left out: train/0.png",
        "5 images of valid cannot be read and are left out: valid/0.png, valid/1.png, valid/2.png"
        " and 2 more",
    ]
    _, rows, _ = report_table(report)
    assert rows[-1] == ["unreadable", "1", "5", "0", ""]
    assert rows[0] == ["bear", "7", "1", "0", "44.4 %"]


def test_copies_in_two_splits_are_counted_and_named():
    dataset, loaded = loaded_from([ANIMAL], animals(train=(8, 8), valid=(2, 2), test=(2, 2)))
    smooth = np.kron(noise(4), np.ones((1, 6, 6, 1), np.uint8))[:, :40, :50]
    loaded["train"].images[3:5] = smooth[:2]
    loaded["test"].images[1:3] = smooth[1::-1]
    loaded["valid"].images[0] = smooth[2]
    (warning,) = data_report(dataset, loaded).warnings
    assert warning.startswith(
        "2 images of test look like images of train, such as test/1.png and train/4.png: a score"
    )
    loaded["test"].images[3] = smooth[2]
    assert [w.split(",")[0] for w in data_report(dataset, loaded).warnings] == [
        "2 images of test look like images of train",
        "1 image of test looks like images of valid",
    ]


@pytest.mark.parametrize(("bears", "warned"), [(50, False), (51, True)])
def test_imbalance_is_warned_of(bears, warned):
    warnings = warnings_of([ANIMAL], animals(train=(bears, 5)))
    assert len(warnings) == warned
    if warned:
        assert warnings[0].startswith("train has 51 images of bear and 5 of lion, 10 to 1. Rare")
        assert "training.sampling: over, or training.loss.class_weights" in warnings[0]


def test_few_images_are_warned_of():
    (warning,) = warnings_of([ANIMAL], animals(train=(5, 4)))
    assert warning.startswith("train has fewer than 5 images of lion (4): they will hardly")


def test_class_that_a_split_lacks_is_warned_of():
    (warning,) = warnings_of([ANIMAL], animals(train=(5, 5), valid=(1, 1), test=(3, 0)))
    assert warning.startswith("test has no image of lion, so that it cannot tell")


def test_split_without_images_lacks_nothing():
    assert warnings_of([ANIMAL], animals(train=(5, 5))) == []


def test_warnings_name_the_task_where_there_are_several():
    tasks = [ANIMAL, make_task("age", ("old", "young"))]
    train = [((i % 2,), (int(i < 3),)) for i in range(40)]
    found = warnings_of(tasks, {"train": train, "valid": [((0,), (0,)), ((1,), None)]})
    assert [warning.split(" has")[0] for warning in found] == ["age: train"] * 2 + ["age: valid"]


def test_many_names_are_cut_short():
    task = make_task("label", tuple("abcdefgh"))
    train = [((place,),) for place in range(8) for _ in range(5)]
    (warning,) = warnings_of([task], {"train": train, "test": [((0,),)]})
    assert "test has no image of b, c, d, e, f and 2 more," in warning


def test_images_that_are_all_but_black_are_warned_of():
    dataset, loaded = loaded_from([ANIMAL], animals(train=(5, 5)))
    loaded["train"].images = noise(10, high=16)
    (warning,) = data_report(dataset, loaded).warnings
    assert warning.startswith("no pixel is brighter than 15 of 255: of 16-bit images the high byte")

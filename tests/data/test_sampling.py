from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.data.sampling import sample_indices
from tltool.errors import UsageError


def drawn(labels, mode, seed=0):
    return sample_indices(labels, mode, np.random.default_rng(seed)).tolist()


def of_class(labels, indices):
    return Counter(labels[i] for i in indices)


LABELS = [(0,)] * 9 + [(1,)] * 4 + [(2,)]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("as-is", {(0,): 9, (1,): 4, (2,): 1}),
        ("over", {(0,): 9, (1,): 9, (2,): 9}),
        ("under", {(0,): 1, (1,): 1, (2,): 1}),
        # 14 in the shares 3 : 2 : 1 are 7, 4 2/3 and 2 1/3.
        ("square-root", {(0,): 7, (1,): 5, (2,): 2}),
    ],
)
def test_counts_by_hand(mode, expected):
    assert of_class(LABELS, drawn(LABELS, mode)) == expected


def test_oversampling_shows_every_sample_before_any_once_more():
    times = Counter(drawn(LABELS, "over"))
    assert [times[i] for i in range(9)] == [1] * 9
    assert sorted(times[i] for i in range(9, 13)) == [2, 2, 2, 3]
    assert times[13] == 9


def test_samples_not_labelled_come_once_whatever_the_mode():
    labels = [*LABELS, None, None]
    for mode in ("as-is", "over", "under", "square-root"):
        with_them, without = drawn(labels, mode), drawn(LABELS, mode)
        assert sorted(i for i in with_them if i > 13) == [14, 15]
        assert len(with_them) == len(without) + 2
    assert sorted(drawn([None, None], "over")) == [0, 1]


def test_a_sample_belongs_to_the_rarest_class_it_has():
    # 0 five times, 1 twice, 2 twice: the groups are 0 alone (3), 1 (2), 2 (1), and none (1).
    labels = [(0,), (0,), (0,), (0, 1), (1, 2), (0, 2), ()]
    times = Counter(drawn(labels, "over"))
    assert [times[i] for i in range(3)] == [1, 1, 1]
    assert times[3] + times[4] == times[5] == times[6] == 3


def test_an_epoch_is_drawn_anew_and_can_be_repeated():
    rng = np.random.default_rng(5)
    first, second = (sample_indices(LABELS, "under", rng).tolist() for _ in range(2))
    assert first != second
    assert drawn(LABELS, "under", 5) == first
    assert drawn(LABELS, "as-is") != list(range(14))


def test_no_samples_give_none():
    for mode in ("as-is", "over", "under", "square-root"):
        indices = sample_indices([], mode, np.random.default_rng(0))
        assert indices.shape == (0,)
        assert np.issubdtype(indices.dtype, np.integer)


def test_an_unknown_mode_is_refused():
    with pytest.raises(UsageError, match=r"sampling: expected one of as-is, over.*received up"):
        drawn(LABELS, "up")


labels_of_any_kind = st.lists(
    st.none() | st.lists(st.integers(0, 3), max_size=2, unique=True).map(tuple), max_size=40
)


def rarest(labels):
    frequency = Counter(c for label in labels for c in label or ())
    for label in labels:
        if label is None:
            yield None
        else:
            yield min(((frequency[c], c) for c in label), default="nothing")


@given(
    labels_of_any_kind,
    st.sampled_from(["as-is", "over", "under", "square-root"]),
    st.integers(0, 99),
)
def test_classes_come_as_often_as_the_mode_says(labels, mode, seed):
    indices = drawn(labels, mode, seed)
    groups = list(rarest(labels))
    counts = Counter(group for group in groups if group is not None)
    received = Counter(groups[i] for i in indices if groups[i] is not None)
    if mode == "over":
        assert set(received.values()) <= {max(counts.values(), default=0)}
    elif mode == "under":
        assert set(received.values()) <= {min(counts.values(), default=0)}
    else:
        assert sum(received.values()) == sum(counts.values())
    if mode == "as-is":
        assert received == counts
    if mode == "square-root":
        total = sum(n**0.5 for n in counts.values())
        for group, number in counts.items():
            assert abs(received[group] - sum(counts.values()) * number**0.5 / total) < 1
    assert set(received) == set(counts)
    # Samples of a class differ by one at most in how often they come.
    times = Counter(indices)
    for group in set(groups):
        own = [times[i] for i, g in enumerate(groups) if g == group]
        assert max(own) - min(own) <= 1
    assert all(times[i] == 1 for i, group in enumerate(groups) if group is None)

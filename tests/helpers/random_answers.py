"""Random answers to random tasks, degenerate ones among them, for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from tltool.tasks.kinds import make_task

KINDS = ("multi-class", "binary", "multi-label")


@st.composite
def told(draw, kinds=KINDS, least=1):
    """Answers; classes may lack images, scores may be equal or sure, images unlabelled."""
    kind = draw(st.sampled_from(kinds))
    fewest = 1 if kind == "multi-label" else 2
    classes = 2 if kind == "binary" else draw(st.integers(fewest, 5))
    number = draw(st.integers(least, 30))
    task = make_task("label", tuple(f"c{i}" for i in range(classes)), kind)
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    used = draw(st.integers(1, classes))
    if kind == "multi-label":
        labels = [tuple(np.flatnonzero(row)) for row in rng.random((number, used)) < 0.4]
    else:
        labels = [(int(i),) for i in rng.integers(0, used, number)]
    scores = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.05, 1.0]))), number)
    if kind == "binary":
        scores = scores[:, 1:]
    # Many equal ones, and exact zeros and ones.
    coarse = draw(st.sampled_from([0, 1, 2]))
    if coarse and kind != "multi-class":
        scores = scores.round(coarse)
    return task.answers(scores.astype("float32"), task.encode(labels))

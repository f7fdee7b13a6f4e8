"""`tltool evaluate`: the numbers that judge a run on labelled images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.data.dataset import Dataset
from tltool.evaluation.judged import Judged
from tltool.sidecar import Sidecar

FOLDER_NAME = "evaluation"
PREDICTIONS_NAME = "predictions.csv"


@dataclass(frozen=True)
class Evaluation:
    """A run judged on a split.

    Attributes
    ----------
    run : Path
        The run's ``model.keras``.
    folder : Path
        Where the files were written.
    metrics : dict
        Content of ``metrics.json``, see `evaluate`.
    judged : Judged
    dataset : Dataset
        All splits of the data, with the classes of the run. Where the data has
        no splits all of it is in ``test``.
    sidecar : Sidecar
        Of the run.
    files : list of Path
        What was written.
    """

    run: Path
    folder: Path
    metrics: dict[str, Any] = field(repr=False)
    judged: Judged
    dataset: Dataset
    sidecar: Sidecar = field(repr=False)
    files: list[Path]


def evaluate(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    beta: float = 2.0,
    top_k: int = 3,
    tta: str | int | None = None,
    batch: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    strict: bool = False,
    overwrite: bool = False,
) -> Evaluation:
    """Judge a run on labelled images.

    Parameters
    ----------
    run : str or Path
        A run folder, or a ``model.keras`` with its ``model.json``.
    data : str or Path
        Class folders, what `tltool.patches` wrote, or a manifest, as
        `tltool.finetune` reads them.
    out : str or Path, optional
        Folder for ``metrics.json`` and ``predictions.csv``. Default:
        ``evaluation`` in the run folder.
    split : 'train', 'valid', 'test', 'all' or None
        None: ``test`` where the data has splits or is what the run was trained
        on, else all of it.
    beta : float
        Of F-beta: recall counts `beta` times as much as precision.
    top_k : int
        Most probable classes among which the right one may be.
    tta : 'd4', int or None
        Test-time augmentation: also judge the mean over the eight flips and
        rotations, or over so many random draws of the recipe's augmentation.
    batch : int
        Images that the network sees at a time.
    resamples : int
        Of the bootstrap.
    seed : int
        Of the bootstrap and of the draws.
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    overwrite : bool
        Replace what an earlier evaluation wrote.

    Returns
    -------
    Evaluation

    Raises
    ------
    ModelError
        No run there, or outputs that are no numbers, naming the first images.
    DataError
        Classes that the run does not know, naming both lists; no image of the
        split.
    ImageError
        Where `strict`.
    UsageError, OutputError

    Notes
    -----
    ``metrics.json`` holds

    - ``format`` (1), ``run``, ``data``, ``split``, ``samples``, ``unreadable``
      (paths), ``lacking`` (task -> classes without an image), ``beta``,
      ``level`` (0.95), ``resamples``, ``seed``;
    - of a single task its numbers; of several ``tasks``: name -> numbers;
    - ``averaged``: the same numbers with test-time augmentation, and ``tta``:
      ``kind`` ('d4' or 'draws'), ``views``, ``cost`` (time over that without,
      reading not counted) and ``gain``: (task ->) path -> ``value`` and
      ``interval`` of the difference to without, over the same resamples. Only
      where `tta` was asked for.

    The numbers of a task; what is undefined is null (no image of a class, no
    prediction of it, ...):

    - ``kind``, ``samples`` (labelled ones);
    - ``accuracy``, of a multi-label task the share of all labels;
    - ``balanced_accuracy``, ``kappa`` (Cohen's), but for a multi-label task;
    - ``top_k``: "2" .. "k" -> accuracy, of a multi-class task, for k below the
      number of classes;
    - ``subset_accuracy``, ``hamming_loss``, ``mean_average_precision``, of a
      multi-label task;
    - ``log_loss`` (natural logarithm), ``brier`` (multi-class: sum over the
      classes, 0..2, else 0..1), ``ece``;
    - ``macro``, ``weighted``, ``micro``: each with ``precision``, ``recall``,
      ``f1``, ``f_beta``, ``specificity``, ``roc_auc``, ``average_precision``,
      one-vs-rest;
    - ``classes``: name -> the same and ``samples``;
    - ``confusion`` and ``confusion_normalised`` (rows are the truth and add up
      to 1), but for a multi-label task;
    - ``curves``: ``roc``: name or "micro" -> ``fpr``, ``tpr``;
      ``precision_recall``: name or "micro" -> ``recall``, ``precision``; null
      where undefined;
    - ``calibration``: list of bins that are not empty with ``low``, ``high``,
      ``samples``, ``confidence`` (mean probability), ``frequency`` (share that
      was right);
    - ``calibrated``: null or ``temperature``, ``fitted_on`` (images of the
      validation split; null: the stored one was used), ``log_loss``, ``brier``,
      ``ece``, ``calibration``;
    - ``thresholds``, of a binary or multi-label task: class -> list of
      ``threshold``, ``precision``, ``recall``, ``f1``, ``best``;
    - ``intervals``: path in these numbers such as ``accuracy``, ``macro.f1``,
      ``classes.NAME.recall`` -> [low, high] or null.
    """
    raise NotImplementedError

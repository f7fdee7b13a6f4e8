"""`tltool evaluate`: the numbers of a run on labelled images."""

from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.evaluation.labelled import choose_samples, predict_samples, read_labelled
from tltool.evaluation.temperature import temperatures
from tltool.files import atomic_path, refuse_existing
from tltool.inference.labelled_predictions import LabelledPredictions, write_labelled_predictions
from tltool.inference.network import Openable, open_network
from tltool.metrics.bootstrap import LEVEL
from tltool.report import MAP_NAME, REPORT_NAME
from tltool.report.evaluation import Evaluation
from tltool.run.folder import EVALUATION_NAME, METRICS_NAME, write_json
from tltool.tasks.measuring import Choices, Temperature, gains

PREDICTIONS_NAME = "predictions.csv"
_OF_REPORT = (REPORT_NAME, MAP_NAME)


def _numbers(
    predictions: LabelledPredictions, temperature: dict[str, Temperature], choices: Choices
) -> tuple[dict[str, Any], ...]:
    """The numbers of all tasks, those with test-time augmentation, and what it gains."""
    plain, averaged, gained = {}, {}, {}
    for task in predictions.tasks:
        targets, outputs = predictions.targets[task.name], predictions.probabilities[task.name]
        groups, at = predictions.groups, temperature.get(task.name)
        before = task.measure(outputs, targets, groups, choices, at)
        plain[task.name] = before.numbers
        if predictions.averaged is not None:
            after = task.measure(predictions.averaged[task.name], targets, groups, choices)
            averaged[task.name] = after.numbers
            gained[task.name] = gains(task.gain_paths, before, after)
    return plain, averaged, gained


def _of_one(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers of the one task that there is, or of the tasks by name."""
    return {"tasks": numbers} if len(numbers) > 1 else dict(next(iter(numbers.values())))


def evaluate(
    network: Openable,
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    beta: float = 2.0,
    top_k: int = 3,
    tta: str | int | None = None,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    strict: bool = False,
    report: bool = False,
    feature_map: bool = True,
    overwrite: bool = False,
) -> Evaluation:
    """Evaluate a run on labelled images.

    Parameters
    ----------
    network : str, Path, Network or keras.Model
        A run folder, a model file, or what `tltool.open` takes or gave.
    data : str or Path
        Class folders, what `tltool.patches` wrote, or a manifest, as
        `tltool.finetune` reads them.
    out : str or Path, optional
        Folder for ``metrics.json`` and ``predictions.csv``. Default:
        ``evaluation`` in the run folder; of a model in memory nothing is
        written.
    split : 'train', 'valid', 'test', 'all' or None
        None: ``test`` where the data has splits or is what the run was trained
        on, else all of it.
    beta : float
        Beta of F-beta: recall counts `beta` times as much as precision.
    top_k : int
        Most probable classes among which the right one may be.
    tta : 'd4', int or None
        Test-time augmentation: also evaluate the mean over the eight flips and
        rotations, or over so many random draws of the recipe's augmentation.
    batch_size : int
        Images that the network sees at a time.
    resamples : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap and of the draws.
    strict : bool
        Stop at an unreadable image instead of leaving it out.
    report : bool
        Also write ``report.html`` (`tltool.report`): takes as long
        as several evaluations.
    feature_map : bool
        Whether the report lays the images out by their features (t-SNE), and
        ``feature_map.png`` is written.
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
      (what is wrong with each of them), ``lacking`` (task -> classes without
      an image), ``beta``, ``level`` (0.95), ``resamples``, ``seed``;
    - of a single task its numbers; of several ``tasks``: name -> numbers;
    - ``averaged``: the same numbers with test-time augmentation, and ``tta``:
      ``kind`` ('d4' or 'draws'), ``views``, ``cost`` (time over that without,
      reading not counted) and ``gain``: (task ->) path -> ``value`` and
      ``interval`` of the difference to without, over the same resamples. Only
      where `tta` was asked for.

    The numbers of a task; what is undefined is null (no image of a class, no
    prediction of it, ...):

    - ``kind``, ``samples`` (labelled ones);
    - of a regression ``mean_absolute_error``, ``rmse``, ``r2`` and ``bias``,
      with intervals, and the others of `tltool.metrics.regression`; of all other
      kinds what follows;
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
      ``classes.NAME.recall`` -> [low, high] or null, 95 % by the bootstrap
      (`tltool.metrics.bootstrap`); rows of a manifest with the same
      ``group`` are drawn together.

    Calibration and its bins: `tltool.metrics.calibration`. All
    probabilities but those under ``calibrated`` are the network's own. The
    temperature is fitted on the validation split where the data has one and
    ``train`` or ``test`` is evaluated, and stored in the run's sidecars.
    """
    choices = Choices(beta, top_k, resamples, seed)
    opened = open_network(network)
    folder = None if out is None else Path(out)
    if folder is None and opened.path is not None:
        folder = opened.path.parent / EVALUATION_NAME
    if report and (folder is None or opened.path is None):
        raise UsageError("`report`: expected a run folder, received a model in memory")
    for name in (METRICS_NAME, PREDICTIONS_NAME, *_OF_REPORT):
        if folder is not None:
            refuse_existing(folder / name, overwrite)
    views = opened.views(tta, seed)
    dataset = read_labelled(data, opened)
    name, samples = choose_samples(dataset, split)
    predictions, seconds = predict_samples(
        opened, dataset, name, samples, views, batch_size, strict
    )
    temperature = temperatures(opened, dataset, name, batch_size, strict)
    lacking = {t.name: t.lacking(predictions.targets[t.name]) for t in predictions.tasks}
    numbers, averaged, gained = _numbers(predictions, temperature, choices)
    metrics = {
        "format": 1,
        "run": opened.name if opened.path is None else str(opened.path.parent),
        "data": str(dataset.source),
        "split": name,
        "samples": len(predictions),
        "unreadable": [str(error) for error in predictions.unreadable],
        "lacking": {task: names for task, names in lacking.items() if names},
        "beta": beta,
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        **_of_one(numbers),
    }
    if views is not None:
        metrics["averaged"] = _of_one(averaged)
        metrics["tta"] = {
            "kind": views.kind,
            "views": views.number,
            "cost": float(seconds[1] / seconds[0]),
            "gain": gained if len(gained) > 1 else next(iter(gained.values())),
        }
    files: list[Path] = []
    if folder is not None:
        for old in _OF_REPORT:
            # An earlier one would speak of other numbers.
            (folder / old).unlink(missing_ok=True)
        # The metrics last: where they are, the evaluation is whole.
        files = [folder / METRICS_NAME, folder / PREDICTIONS_NAME]
        with atomic_path(files[1]) as partial, partial.open("w", encoding="utf-8") as file:
            write_labelled_predictions(predictions, file)
        write_json(files[0], metrics)
    done = Evaluation(opened.path, folder, metrics, predictions, dataset, opened.sidecar, files)
    if report:
        # Only here, for it is slow to import.
        from tltool.report.writing import write_report

        files += write_report(
            opened, done, feature_map=feature_map, batch_size=batch_size, seed=seed
        )
    return done

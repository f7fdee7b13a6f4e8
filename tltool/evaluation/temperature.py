"""The temperature of a run: fitted on validation images, stored in its sidecars."""

import logging

from tltool.data.dataset import Dataset
from tltool.errors import OutputError
from tltool.evaluation.labelled import predict_samples
from tltool.inference.network import LoadedNetwork
from tltool.run.sidecar import load_sidecar, sidecar_path
from tltool.tasks.measuring import Temperature

logger = logging.getLogger(__name__)


def temperatures(
    run: LoadedNetwork, dataset: Dataset, split: str, batch_size: int, strict: bool
) -> dict[str, Temperature]:
    """Find the temperature of every task.

    Parameters
    ----------
    run : LoadedNetwork
    dataset : Dataset
    split : str
        The one that is evaluated, also at the temperature.
    batch, strict
        As of `predict_samples`.

    Returns
    -------
    dict of task name to Temperature
        Fitted on the images of the validation split and stored in the run's
        sidecars; where there are none, or they are evaluated, as it was stored
        before. Without the tasks that have none.
    """
    stored = {name: Temperature(value, None) for name, value in run.sidecar.temperature.items()}
    samples = dataset.samples["valid"]
    if split not in ("train", "test") or not samples:
        return stored
    predictions, _ = predict_samples(
        run, dataset, "valid", samples, batch_size=batch_size, strict=strict
    )
    found = {}
    for task in run.tasks:
        if not task.probabilistic:
            continue
        targets = predictions.targets[task.name]
        number = int(task.labelled(targets).sum())
        value = task.fit_temperature(predictions.probabilities[task.name], targets)
        if value is None:
            logger.warning(
                "%s: the %d validation images do not determine a temperature", task.name, number
            )
        else:
            found[task.name] = Temperature(value, number)
    if run.path is None:
        return found
    values = {name: each.value for name, each in found.items()}
    # The sidecars of the run's FCNs too.
    for model in (run.path, *sorted(run.path.parent.glob("fcn*.keras"))):
        if sidecar_path(model).exists() and (sidecar := load_sidecar(model)).temperature != values:
            try:
                sidecar.model_copy(update={"temperature": values}).save(model)
            except OutputError as error:
                logger.warning("the temperature is not stored: %s", error)
    return found

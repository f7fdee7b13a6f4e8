"""How a run finds its points: as tuned, by default, or as a call says."""

from dataclasses import dataclass
from pathlib import Path

from tltool.counting.maps import ImageMap, countable_sidecar
from tltool.errors import UsageError
from tltool.points.detections import choose_surface
from tltool.run.detection_parameters import DetectionParameters, PeakRule
from tltool.run.folder import FCN_NAME, MODEL_NAME
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path

HOW_TO_TUNE = "tltool count tune RUN IMAGES POINTS.csv"


@dataclass(frozen=True)
class Choice:
    """Parameters, and whether their validation holds.

    Attributes
    ----------
    parameters : DetectionParameters
        Without a validation where it does not hold.
    origin : str
        ``tuned``, ``default`` or ``given``.
    doubt : str
        Why there is no validation; empty: there is one.
    """

    parameters: DetectionParameters
    origin: str
    doubt: str = ""

    def for_map(self, image_map: ImageMap) -> "Choice":
        """The same where a map was made as those that the tuning saw, else without validation."""
        tuned, view = self.parameters.seeing, image_map.view
        if tuned is None or tuned == view:
            return self
        differing = [key for key in tuned if tuned[key] != view.get(key)]
        told = ", ".join(f"{key} {view.get(key)} for {tuned[key]}" for key in differing)
        doubt = f"the tuning saw its images otherwise than this map did: {told}"
        return Choice(without_validation(self.parameters), self.origin, doubt)


def without_validation(parameters: DetectionParameters) -> DetectionParameters:
    """The same rules, of which nothing is known."""
    return parameters.model_copy(update={"validation_any": None, "validation": {}})


def default_parameters(sidecar: Sidecar) -> DetectionParameters:
    """Parameters of a run that was not tuned: threshold 0.5, half a patch apart."""
    surface = choose_surface(sidecar.classes, sidecar.background)
    return DetectionParameters(surface=surface, rule=PeakRule(distance=sidecar.patch / 2))


def default_radius(sidecar: Sidecar) -> float:
    """The patch's side, at least a cell's, px: from there patches share what they show."""
    return max(sidecar.patch, sidecar.stride or 0)


def choose_parameters(
    run: str | Path,
    sidecar: Sidecar,
    threshold: float | None = None,
    distance: float | None = None,
) -> Choice:
    """Decide how points are found.

    Parameters
    ----------
    run : str or Path
    sidecar : Sidecar
        Of its network.
    threshold, distance : float, optional
        In place of those of every class. The validation of the tuned rules
        says nothing of others, so it is left out.

    Raises
    ------
    UsageError
        A threshold that is none, or a distance below 0.
    """
    _check(threshold, distance)
    tuned = sidecar.detections or _of_classifier(Path(run))
    before = tuned or default_parameters(sidecar)
    parameters = _replaced(before, threshold, distance)
    if tuned is None:
        rule = parameters.rule
        doubt = (
            f"the run is not tuned (threshold {rule.threshold:g}, distance {rule.distance:g} px):"
            f" {HOW_TO_TUNE} chooses both on annotated images and tells how sure counts are"
        )
        return Choice(parameters, "default" if parameters == before else "given", doubt)
    if parameters == before:
        return Choice(parameters, "tuned")
    doubt = "precision and recall are known of the tuned threshold and distance, not of others"
    return Choice(without_validation(parameters), "given", doubt)


def _check(threshold: float | None, distance: float | None) -> None:
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(
            f"--threshold: expected a probability above 0, 1 at most; received {threshold:g}"
        )
    if distance is not None and not 0 <= distance < float("inf"):
        raise UsageError(f"--distance: expected px from 0 on, received {distance:g}")


def _of_classifier(run: Path) -> DetectionParameters | None:
    """What the classifier's sidecar knows: its FCN may be older or newer than the tuning."""
    path = run / MODEL_NAME
    return load_sidecar(path).detections if sidecar_path(path).exists() else None


def _replaced(
    parameters: DetectionParameters, threshold: float | None, distance: float | None
) -> DetectionParameters:
    given = {"threshold": threshold, "distance": distance}
    update = {key: value for key, value in given.items() if value is not None}
    classes = {name: rule.model_copy(update=update) for name, rule in parameters.classes.items()}
    rule = parameters.rule.model_copy(update=update)
    return parameters.model_copy(update={"rule": rule, "classes": classes})


def store_parameters(run: str | Path, parameters: DetectionParameters) -> list[Path]:
    """Write parameters into the sidecars of a run, each whole or not at all.

    Parameters
    ----------
    run : str or Path
        A run folder, or an FCN's file.
    parameters : DetectionParameters

    Returns
    -------
    list of Path
        The JSON files that tell them now.
    """
    run = Path(run)
    countable_sidecar(run)
    paths = [run / MODEL_NAME, run / FCN_NAME] if run.is_dir() else [run]
    written = []
    for path in paths:
        if sidecar_path(path).exists():
            load_sidecar(path).model_copy(update={"detections": parameters}).save(path)
            written.append(sidecar_path(path))
    return written

"""`tltool.open`: a network with everything that tltool does with it."""

import logging
from typing import Any, Unpack

from tltool.conversion.agreement import describe_fidelity, measure_fidelity
from tltool.counting.count import count_image
from tltool.counting.survey import ImageCount
from tltool.errors import ConversionError
from tltool.explanation.choices import DEFAULT_METHOD
from tltool.explanation.explain import explain
from tltool.explanation.explained import Explained
from tltool.inference.image_opening import ImageSource
from tltool.inference.network import AllHints, LoadedNetwork, Openable, open_network
from tltool.inference.predict import Predictions, predict
from tltool.inference.predict_batches import Images
from tltool.mapping.map_image import Map, map_image
from tltool.pictures.notebook import table_html
from tltool.text import some_of

logger = logging.getLogger(__name__)


class Network(LoadedNetwork):
    """A classifier to predict, map, count and explain with, as `tltool.open` gives it.

    Attributes
    ----------
    keras : keras.Model
        The classifier: (b, side, side, bands) float32 in 0..255 to outputs.
    fcn : keras.Model
        The fully convolutional network: the run's, or converted in memory when
        it is first asked for.
    tasks : tuple of Task
    zoom : float
        Enlargement of an image before the network sees it.
    path : Path or None
        File of the classifier; None: it is in memory.
    notes : list of str
        What is to be known of how the model was understood.

    Examples
    --------
    >>> import keras, numpy as np, tltool
    >>> model = keras.Sequential([
    ...     keras.Input((16, 16, 3)),
    ...     keras.layers.Conv2D(4, 8, 4, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(2, activation="softmax"),
    ... ])
    >>> network = tltool.open(model, classes=["sand", "seal"], pixels="0..1")
    >>> network.classes, network.patch, network.stride
    (['sand', 'seal'], 16, 4.0)
    >>> network.predict(np.zeros((5, 16, 16, 3), np.uint8)).to_array().shape
    (5, 2)
    """

    @property
    def classes(self) -> list[str]:
        """Names of the outputs, in their order; ``task.class`` where there are several tasks."""
        return list(self.sidecar.classes)

    @property
    def patch(self) -> int:
        """Side of the square that a prediction is of, px."""
        return self.sidecar.patch

    @property
    def context(self) -> int:
        """Margin of real image around the patch, px."""
        return self.sidecar.context

    @property
    def stride(self) -> float:
        """Distance between the cells of a map, px of the image.

        Raises
        ------
        ConversionError
            A classifier that cannot be converted.
        """
        return float(self.fcn_sidecar.stride or 0)

    def predict(
        self, images: Images, tta: str | int | None = None, calibrated: bool = False, **options: Any
    ) -> Predictions:
        """Predict the classes of images.

        Parameters
        ----------
        images : str, Path, array, PIL image or iterable of them
            Arrays (height, width, bands) or (n, height, width, bands) of
            numbers in 0..255, files, folders; also a generator.
        tta : 'd4', int or None
            Average the eight flips and rotations, or so many random draws.
        calibrated : bool
            Probabilities at the temperature that `tltool.evaluate` stored.
        **options
            ``scale``, ``batch_size`` and others of `tltool.predict`.

        Returns
        -------
        Predictions
            Made while one goes through them; ``to_array()`` gives all.

        Examples
        --------
        >>> import keras
        >>> import numpy as np
        >>> import tltool
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((16, 16, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu"),
        ...         keras.layers.GlobalAveragePooling2D(),
        ...         keras.layers.Dense(2, activation="softmax"),
        ...     ]
        ... )
        >>> network = tltool.open(model, classes=["rock", "seal"])
        >>> images = np.zeros((3, 16, 16, 3), "uint8")
        >>> network.predict(images).to_array().shape
        (3, 2)
        """
        return predict(self, images, tta=tta, calibrated=calibrated, **options)

    def map(self, image: ImageSource, **options: Any) -> Map:
        """Map an image.

        Parameters
        ----------
        image : str, Path, array (height, width, bands) or PIL image
        **options
            ``stride``, ``tta``, ``scales``, ``scale`` and others of
            `tltool.heatmap`.

        Returns
        -------
        Map
            With ``values`` (rows, columns, classes), the numbers that
            `tltool.heatmap` writes.

        Examples
        --------
        >>> import keras
        >>> import numpy as np
        >>> import tltool
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((16, 16, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu"),
        ...         keras.layers.GlobalAveragePooling2D(),
        ...         keras.layers.Dense(2, activation="softmax"),
        ...     ]
        ... )
        >>> network = tltool.open(model, classes=["rock", "seal"])
        >>> made = network.map(np.zeros((48, 64, 3), "uint8"))
        >>> made.values.shape, made.values.dtype
        ((49, 65, 2), dtype('float32'))
        >>> made.classes
        ('rock', 'seal')
        """
        return map_image(self, image, **options)

    def explain(
        self,
        image: ImageSource,
        *,
        method: str = DEFAULT_METHOD,
        label: str | None = None,
        **options: Any,
    ) -> Explained:
        """Explain the prediction of an image: where the network sees the class.

        Parameters
        ----------
        image : str, Path, array (height, width, bands) or PIL image
        method : str
            As of `tltool.explain`.
        label : str, optional
            The class. Default: the most probable one.
        **options
            ``task``, ``layer``, ``boxes`` and others of `tltool.explain`.

        Returns
        -------
        Explained
            With ``map`` (side, side), ``probability`` and ``to_image()``.

        Examples
        --------
        >>> import keras
        >>> import numpy as np
        >>> import tltool
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((16, 16, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu"),
        ...         keras.layers.GlobalAveragePooling2D(),
        ...         keras.layers.Dense(2, activation="softmax"),
        ...     ]
        ... )
        >>> network = tltool.open(model, classes=["rock", "seal"])
        >>> network.explain(np.zeros((16, 16, 3), "uint8"), label="seal").map.shape
        (16, 16)
        """
        return explain(self, [image], method=method, label=label, **options).images[0]

    def count(self, image: ImageSource, **options: Any) -> ImageCount:
        """Count what the map of an image shows.

        Parameters
        ----------
        image : str, Path, array (height, width, bands) or PIL image
        **options
            Options of `tltool.count`.

        Returns
        -------
        ImageCount
            Points, and counts with intervals. Not tuned: threshold 0.5, and no
            interval.

        Examples
        --------
        >>> import keras
        >>> import numpy as np
        >>> import tltool
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((16, 16, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu"),
        ...         keras.layers.GlobalAveragePooling2D(),
        ...         keras.layers.Dense(2, activation="softmax"),
        ...     ]
        ... )
        >>> network = tltool.open(model, classes=["rock", "seal"], background="rock")
        >>> found = network.count(np.zeros((48, 64, 3), "uint8"))
        >>> [count.label for count in found.counts.values()]
        ['seal']
        """
        return count_image(self, image, **options)

    def fidelity(self, image: ImageSource, windows: int = 1024) -> dict[str, Any]:
        """Measure how far the map of an image says what the classifier says.

        Parameters
        ----------
        image : str, Path, array (height, width, bands) or PIL image
        windows : int
            How many windows to compare at most.

        Returns
        -------
        dict
            As of `tltool.measure_fidelity`.
        """
        return measure_fidelity(self.fcn, self.model, self.fcn_sidecar, image, windows)

    def __repr__(self) -> str:
        names = some_of(self.classes, 4)
        return f"<Network {self.name}: {len(self.classes)} classes ({names}), {self.patch} px>"

    def _repr_html_(self) -> str:
        size = f"{self.patch} px"
        if self.context:
            size += f" and {self.context} px of context around them"
        if self.zoom != 1:
            size += f", enlarged {self.zoom:g} times"
        try:
            stride = f"a cell every {self.stride:g} px"
            fidelity = describe_fidelity(self.fcn_sidecar)
        except ConversionError as error:
            stride, fidelity = f"not converted: {error}", "not measured"
        facts = [
            ("network", self.name),
            ("classes", some_of(self.classes, 12)),
            ("patches", size),
            ("map", stride),
            ("fidelity", fidelity),
            *(("note", note) for note in self.notes),
        ]
        return table_html(facts)


def open(source: Openable, **hints: Unpack[AllHints]) -> Network:
    """Open a classifier: of a run folder, of a file of any Keras, or a model in memory.

    Parameters
    ----------
    source : str, Path, keras.Model or Network
        A run folder, a model file of Keras 2 or 3 with or without tltool's
        sidecar, a Sequential or Functional classifier; a network that is open
        already comes back as it is.
    **hints
        What a model without tltool's sidecar does not tell; each of these has
        a default.
    classes : sequence of str or str, optional
        Names in the order of the outputs; of a single output the negative and
        the positive. As text with commas between, or a file with one a line.
        Default: ``class_0``, ``class_1``, ...
    background : str, optional
        The class that means "nothing here".
    input_size : int, optional
        Side of the input, px, where the model takes any.
    context : int
        Margin of the input around the patch, px before the enlargement.
    zoom : float
        How much images were enlarged to fill the input.
    pixels : str, optional
        What the model wants of its pixels: ``0..255``, ``0..1``, ``-1..1``,
        ``caffe`` or ``torch``. Default: 0..255.
    activation : 'softmax' or 'sigmoid', optional
        Put behind outputs that are scores.
    architecture : str or Path, optional
        JSON of ``model.to_json()``, for a file that has weights only.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        No model there that Keras can read.
    ConversionError
        Several inputs, one that is no image, or outputs that are no classes.
    UsageError
        What was given does not fit the model, or is known from its sidecar.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> image = np.full((48, 64, 3), 90, "uint8")
    >>> network = tltool.open(model, classes=["rock", "seal"])
    >>> network.classes, network.patch, network.stride
    (['rock', 'seal'], 16, 1.0)
    >>> network.predict(image[:16, :16]).to_array().shape
    (1, 2)
    """
    opened = open_network(source, **hints)
    if isinstance(opened, Network):
        return opened
    for note in opened.notes:
        logger.info("%s", note)
    network = Network.__new__(Network)
    network.__dict__.update(opened.__dict__)
    return network

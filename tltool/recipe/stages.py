"""The stages of a recipe: which layers train, for how long, at which learning rate."""

import contextlib
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class Part(BaseModel):
    """Base of every part of a recipe: unknown keys and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class ConstantSchedule(Part):
    """The learning rate as it is.

    Attributes
    ----------
    warmup : float
        Epochs over which the rate rises from zero, in a line.
    """

    name: Literal["constant"]
    warmup: float = Field(0, ge=0)


class CosineSchedule(Part):
    """Half a cosine from the rate down to a share of it (Loshchilov and Hutter 2017).

    Attributes
    ----------
    warmup : float
        Epochs over which the rate rises from zero, in a line.
    end : float
        Share of the rate at the end.
    """

    name: Literal["cosine"] = "cosine"
    warmup: float = Field(0, ge=0)
    end: float = Field(0.01, ge=0, le=1)


class OneCycleSchedule(Part):
    """Rise and fall, each half a cosine (Smith and Topin 2018).

    Attributes
    ----------
    peak : float
        Share of the stage at which the rate is reached.
    start, end : float
        Shares of the rate at the beginning and the end.
    """

    name: Literal["one-cycle"]
    peak: float = Field(0.25, gt=0, lt=1)
    start: float = Field(0.04, ge=0, le=1)
    end: float = Field(1e-5, ge=0, le=1)


class StepSchedule(Part):
    """The rate times `factor` after each `every` epochs.

    Attributes
    ----------
    warmup : float
        Epochs over which the rate rises from zero, in a line.
    every : float
        Epochs.
    factor : float
    """

    name: Literal["step"]
    warmup: float = Field(0, ge=0)
    every: float = Field(10, gt=0)
    factor: float = Field(0.1, gt=0, lt=1)


class PlateauSchedule(Part):
    """The rate times `factor` whenever the validation loss has not fallen for some epochs.

    Attributes
    ----------
    factor : float
    patience : int
        Epochs without a better validation loss.
    """

    name: Literal["plateau"]
    factor: float = Field(0.3, gt=0, lt=1)
    patience: int = Field(3, ge=1)


SCHEDULES = ("constant", "cosine", "one-cycle", "step", "plateau")

Schedule = Annotated[
    ConstantSchedule | CosineSchedule | OneCycleSchedule | StepSchedule | PlateauSchedule,
    Field(discriminator="name"),
    BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
]

Train = str | dict[str, int | float | str]


def _multiple(pattern: Any, value: Any) -> Any:
    """What a pattern says: ``frozen`` or a number."""
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise ValueError(f"{pattern} is not a regular expression: {error}") from error
    if isinstance(value, str) and value != "frozen":
        # YAML 1.1 reads 1e-2 as a text.
        with contextlib.suppress(ValueError):
            value = float(value)
    if value != "frozen" and (type(value) not in (int, float) or not 0 < value <= 100):
        raise ValueError(
            f"{pattern}: expected frozen or a multiple of the rate, above 0 to 100; got {value!r}"
        )
    return value


class StageRecipe(Part):
    """One part of the schedule.

    Attributes
    ----------
    train : 'head' or 'frozen', 'all', or a mapping
        Which layers train. ``head`` and ``frozen``: the head alone;
        ``{top: n}``: the last n blocks of the backbone too, all where it has
        fewer; ``{from: name}``:
        the backbone from a block or layer on; ``{gradual: n}``: n stages, each
        with a block more; else regular expressions of whole layer names, each
        with a multiple of the rate or ``frozen``: the first that matches a
        layer of the backbone decides, none means frozen, and the key ``head``
        speaks of the head, which trains if nothing else is said.
    epochs : int or None
        The most it runs, passes over the data; early stopping may end it
        sooner. Either this or `steps`.
    steps : int or None
        The most it runs, batches. Validation, history and state come as always
        after each pass over the data, and at the end, which may lie within a
        pass; where the data have no length, after each tenth of the steps.
    method : str
        What a step does: ``supervised``, or another of
        `tltool.training.steps.STEPS`.
    learning_rate : float
        Where the schedule starts from or leads to.
    schedule : str or mapping
        ``constant``, ``cosine``, ``one-cycle``, ``step`` or ``plateau``, or a
        mapping of its name and parameters.
    layer_decay : float
        What the rate of each block is multiplied by, against the one above
        it; the head has the rate itself.
    optimizer : str
        ``adam``, ``nadam``, ``lion``, ``sgd`` (Nesterov) or ``rmsprop``.
    momentum : float
        Momentum of the optimizer; beta_1 of adam and its kin.
    weight_decay : float
        Decoupled from the gradient (Loshchilov and Hutter 2019); biases and
        normalisation parameters do not decay.
    clipnorm : float or None
        Largest norm of a weight's gradient.
    gradient_accumulation_steps : int
        Steps whose gradients are averaged before the weights move.
    ema : float or None
        Momentum of an exponential moving average of the weights, which is
        then what is judged and kept.
    draws : int
        While the whole backbone is frozen its features are computed once for
        so many augmented epochs and used in turn (once where nothing is
        augmented or sampled), as the backbone computes in use; 0: anew in
        every epoch, with the dropout that EfficientNet's blocks have.
    cache : 'backbone' or 'frozen'
        What draws are of: the backbone, where all of it is frozen; or
        whatever lies below the lowest layer that trains, which is quick
        where low layers work on large maps. Their features need room: on
        disk, where memory has too little.
    patience : int
        Epochs without a better validation loss after which the stage ends.
    batch_norm : 'inference' or 'train'
        Whether BatchNormalization keeps the statistics it has.
    """

    train: Train = "head"
    epochs: int | None = Field(None, ge=0)
    steps: int | None = Field(None, ge=1)
    method: str = "supervised"
    learning_rate: float = Field(gt=0, le=10)
    schedule: Schedule = Field(default_factory=CosineSchedule)
    layer_decay: float = Field(1.0, gt=0, le=1)
    optimizer: Literal["adam", "nadam", "lion", "sgd", "rmsprop"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, lt=1)
    clipnorm: float | None = Field(1.0, gt=0)
    gradient_accumulation_steps: int = Field(1, ge=1)
    ema: float | None = Field(None, gt=0, lt=1)
    draws: int = Field(20, ge=0)
    cache: Literal["backbone", "frozen"] = "backbone"
    patience: int = Field(10, ge=1)
    batch_norm: Literal["inference", "train"] = "inference"

    @field_validator("train", mode="before")
    @classmethod
    def _which_layers(cls, value: Any) -> Any:
        if value in ("head", "frozen", "all"):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError(
                "expected head, frozen, all, {top: n}, {from: block}, {gradual: n}"
                " or {pattern: multiple of the rate or frozen}"
            )
        # Each is a mapping of its own, not a pattern beside others.
        word = next((word for word in ("top", "gradual", "from") if word in value), None)
        if word is None:
            return {str(pattern): _multiple(pattern, told) for pattern, told in value.items()}
        if len(value) > 1:
            raise ValueError(
                f"expected {{{word}: ...}} alone; rates of single layers or of the head take"
                " patterns instead"
            )
        told = value[word]
        if word == "from" and not (isinstance(told, str) and told):
            raise ValueError("expected {from: name} with the name of a block or layer")
        if word != "from" and (type(told) is not int or told < 1):
            raise ValueError(f"expected {{{word}: n}} with n blocks, 1 or more")
        return value

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> "StageRecipe":
        if (self.epochs is None) is (self.steps is None):
            raise ValueError("expected epochs or steps, one of the two")
        return self

    def length(self, epoch: int) -> tuple[int, int]:
        """Epochs and steps that it runs at most, where an epoch has so many steps."""
        if self.steps is None:
            return self.epochs or 0, (self.epochs or 0) * epoch
        return -(-self.steps // epoch), self.steps

    def unfolded(self) -> "list[StageRecipe]":
        """The stages that it stands for: several where blocks thaw one by one."""
        if not isinstance(self.train, dict) or list(self.train) != ["gradual"]:
            return [self]
        numbers = range(1, int(self.train["gradual"]) + 1)
        return [self.model_copy(update={"train": {"top": n}}) for n in numbers]


def pretrained_stages() -> list[StageRecipe]:
    """The head, then the top blocks too."""
    return [
        StageRecipe(train="head", epochs=20, learning_rate=3e-3),
        StageRecipe(train={"top": 7}, epochs=30, learning_rate=3e-4),
    ]


def scratch_stages() -> list[StageRecipe]:
    """Everything at once: random features are worth nothing frozen, and have no statistics."""
    return [
        StageRecipe(train="all", epochs=40, learning_rate=2e-3, batch_norm="train", patience=15)
    ]

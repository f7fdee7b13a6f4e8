"""A contact sheet of what a recipe's ``augment`` list makes of some training images."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tltool.augment.pipeline import Augmenter
from tltool.data.dataset import Dataset, PatchFacts, Sample
from tltool.data.folders import read_dataset
from tltool.data.images import cut_middle, fit_side, read_image
from tltool.errors import DataError, ImageError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.pictures.drawing import load_font, typeface_for
from tltool.recipe import Recipe, load_recipe, make_recipe

PAPER, INK, FAINT_INK = (255, 255, 255), (28, 32, 38), (104, 112, 122)
MOST_ROWS = 6  # where the number of images is not given
# Px. Smaller images are enlarged by whole factors, larger ones shrunk.
SMALLEST_TILE, LARGEST_TILE = 88, 160
EM, GAP = 15, 3  # size of the text and space between tiles, px
LABEL_WIDTH, MOST_LINES = 16 * EM, 12  # at most


@dataclass(frozen=True)
class _Row:
    """An image as it goes into the augmentation: (side, side, bands) uint8, and what it is."""

    image: np.ndarray
    classes: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class _Sizes:
    """Side of the images and their margin of context, px; whether they are cut to it."""

    side: int
    context: int
    cut: bool


def _sizes(recipe: Recipe, facts: PatchFacts | None, first: np.ndarray) -> _Sizes:
    # As training decides.
    height, width = first.shape[:2]
    context = recipe.context or 0
    if facts is not None:
        patch = recipe.patch or facts.patch
        if recipe.context is None:
            context = min(facts.context, (facts.patch + 2 * facts.context - patch) // 2)
        return _Sizes(min(patch + 2 * context, height, width), max(0, context), cut=True)
    if recipe.patch is not None:
        return _Sizes(recipe.patch + 2 * context, context, cut=False)
    whole = height == width and height > 2 * context
    return _Sizes(height if whole else 224 + 2 * context, context, cut=False)


def _classes(dataset: Dataset, sample: Sample) -> tuple[str, ...]:
    pairs = zip(dataset.tasks, sample.labels, strict=True)
    texts = [task.label_text(label) for task, label in pairs if label]
    return tuple(name for text in texts for name in text.split("|"))


def _choose(dataset: Dataset, recipe: Recipe, number: int | None, seed: int) -> list[_Row]:
    """Readable training samples at random, in turn of each set of classes."""
    samples = dataset.samples["train"]
    by_class: dict[tuple[str, ...], list[Sample]] = {}
    for index in np.random.default_rng(seed).permutation(len(samples)):
        by_class.setdefault(_classes(dataset, samples[index]), []).append(samples[index])
    wanted = min(len(by_class), MOST_ROWS) if number is None else number
    turns = zip_longest(*(by_class[names] for names in sorted(by_class)))
    rows: list[_Row] = []
    for sample in filter(None, chain.from_iterable(turns)):
        if len(rows) == wanted:
            break
        with suppress(ImageError):
            image = read_image(sample.path, recipe.bands)
            rows.append(_Row(image, _classes(dataset, sample), sample.path.name))
    if not rows:
        raise DataError(f"{dataset.source}: not one image of the training split can be read")
    return rows


def _rows_of_arrays(data: Any, number: int | None) -> list[_Row]:
    images = [data] if isinstance(data, np.ndarray) and data.ndim == 3 else list(data)
    rows = []
    for index, given in enumerate(images[: number or MOST_ROWS]):
        image = np.asarray(given)
        numbers = image.dtype.kind in "buif" and image.ndim == 3 and image.size
        if not numbers or not (image.min() >= 0 and image.max() <= 255):
            received = f"{image.dtype} of shape {image.shape}"
            if numbers:
                received += f", {image.min():g} to {image.max():g}"
            raise UsageError(
                f"`data`: expected images (height, width, bands) of 0..255, received {received}"
            )
        rows.append(_Row(np.rint(image).astype(np.uint8), (), f"image {index}"))
    if not rows:
        raise UsageError("`data`: expected images, received none")
    return rows


def _variant(
    rows: Sequence[_Row], augmenter: Augmenter, context: int, seed: int, number: int
) -> np.ndarray:
    """One variant of every image, (rows, side, side, bands) uint8, mixed with each other."""
    labels = [row.classes[0] if len(row.classes) == 1 else None for row in rows]
    pairs = enumerate(zip(rows, labels, strict=True))
    images = np.stack([augmenter(row.image, (seed, number, i), label) for i, (row, label) in pairs])
    if augmenter.mixer is None:
        return images
    mix = augmenter.mixer.with_margin(context)
    mixed, _ = mix(images.astype(np.float32), {}, (seed, number))
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------- the page


class _Page:
    """A sheet of paper to write and paste on; px."""

    def __init__(self, width: int, height: int):
        self.picture = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self.picture)

    def write(
        self,
        at: tuple[float, float],
        text: str,
        room: float,
        scale: float = 1.0,
        anchor: str = "lm",
        ink: tuple[int, int, int] = INK,
    ) -> float:
        """Write one line, shortened to `room`; gives its width."""
        font = load_font(round(EM * scale), typeface_for(text))
        while text and font.getlength(text) > room:
            text = text.removesuffix("...")[:-1].rstrip() + "..." if len(text) > 4 else ""
        self._draw.text(at, text, ink, font, anchor=anchor)
        return font.getlength(text)

    def paste(self, pixels: np.ndarray, x: int, y: int) -> None:
        self.picture.paste(Image.fromarray(pixels), (x, y))

    def corners(self, box: tuple[int, int, int, int]) -> None:
        """Mark the corners of a square, light edged with dark so that every ground shows them."""
        left, top, right, bottom = box
        arm = max(4, (right - left) // 6)
        for edge, colour in ((1, INK), (0, PAPER)):
            for x, along in ((left, arm), (right, -arm)):
                for y, down in ((top, arm), (bottom, -arm)):
                    self._bar(x, y, x + along, y, edge, colour)
                    self._bar(x, y, x, y + down, edge, colour)

    def _bar(
        self, x: int, y: int, to_x: int, to_y: int, edge: int, colour: tuple[int, int, int]
    ) -> None:
        corners = (
            min(x, to_x) - edge,
            min(y, to_y) - edge,
            max(x, to_x) + edge,
            max(y, to_y) + edge,
        )
        self._draw.rectangle(corners, fill=colour)


def _label(row: _Row) -> str:
    return ", ".join(row.classes) or "not labelled"


def _tile(image: np.ndarray, side: int) -> np.ndarray:
    rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    shown = np.ascontiguousarray(rgb)
    if shown.shape[0] == side:
        return shown
    method = Image.Resampling.NEAREST if shown.shape[0] < side else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(shown).resize((side, side), method))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_entry(entry: Any) -> tuple[str, str]:
    """Describe an entry of the ``augment`` list in one line: its name, its settings."""
    name, settings = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    settings = {"transforms": settings} if isinstance(settings, list) else dict(settings or {})
    inner = [" ".join(describe_entry(e)).strip() for e in settings.pop("transforms", ())]
    given = ", ".join(f"{key} {_plain(value)}" for key, value in settings.items())
    return name, "; ".join(part for part in (" | ".join(inner), given) if part)


def _lines(entries: Sequence[Any]) -> list[tuple[str, str]]:
    if not entries:
        return [("nothing", "the augment list is empty")]
    lines = [describe_entry(entry) for entry in entries]
    if len(lines) > MOST_LINES:
        return [*lines[: MOST_LINES - 1], ("...", f"and {len(lines) - MOST_LINES + 1} more")]
    return lines


def _head(page: _Page, title: str, note: str, lines: Sequence[tuple[str, str]]) -> None:
    left, room = 2 * EM, page.picture.width - 4 * EM
    width = page.write((left, 2.6 * EM), title, room, 1.6)
    page.write((left + width + EM, 2.75 * EM), note, room - width - EM, ink=FAINT_INK)
    for number, (name, given) in enumerate(lines):
        y = (4.7 + 1.45 * number) * EM
        width = page.write((left, y), name, room)
        page.write((left + width + 0.6 * EM, y), given, room - width - EM, ink=FAINT_INK)


def _foot(sizes: _Sizes, augmenter: Augmenter) -> list[str]:
    notes = []
    if sizes.context:
        notes.append("Corners mark the patch itself; around it is what the network sees besides.")
    if augmenter.mixer is not None:
        notes.append("Mixed with the other rows of the same column.")
    if augmenter.normalising:
        names = ", ".join(augmenter.normalising)
        notes.append(f"Not shown, because the network does it to every image: {names}.")
    return notes


def draw_sheet(
    rows: Sequence[_Row],
    variants: Sequence[np.ndarray],
    context: int,
    title: str,
    note: str,
    lines: Sequence[tuple[str, str]],
    foot: Sequence[str],
) -> Image.Image:
    """Draw the originals, then their variants, a row an image.

    Parameters
    ----------
    rows : sequence of _Row
    variants : sequence of (rows, side, side, bands) uint8 arrays
        A column each.
    context : int
        Margin around the patch, px of the images.
    title, note : str
        The heading, and what stands faintly beside it.
    lines : sequence of (str, str)
        Names and settings, above the images.
    foot : sequence of str
        Lines beneath the images.

    Returns
    -------
    PIL.Image.Image
        RGB on white.
    """
    image_side = rows[0].image.shape[0]
    enlarged = image_side * -(-SMALLEST_TILE // image_side)
    side = min(image_side, LARGEST_TILE) if image_side >= SMALLEST_TILE else enlarged
    labels = [(_label(row), 1.0) for row in rows] + [(row.file, 0.8) for row in rows]
    longest = max(
        load_font(round(EM * k), typeface_for(text)).getlength(text) for text, k in labels
    )
    left = 3 * EM + min(LABEL_WIDTH, round(longest))
    top = round((6.2 + 1.45 * len(lines)) * EM)
    first = left + side + EM
    width = max(first + len(variants) * (side + GAP) - GAP + 2 * EM, 56 * EM)
    height = top + len(rows) * (side + GAP) + round((1.2 + 1.4 * len(foot)) * EM)
    page = _Page(width, height)
    _head(page, title, note, lines)
    page.write((left, top - 0.8 * EM), "original", side, 0.85)
    for column in range(len(variants)):
        x = first + column * (side + GAP)
        page.write((x, top - 0.8 * EM), str(column + 1), side, 0.85, ink=FAINT_INK)
    for index, row in enumerate(rows):
        y = top + index * (side + GAP)
        middle, room = y + side / 2, left - 3 * EM
        page.write((2 * EM, middle - 0.6 * EM), _label(row), room)
        page.write((2 * EM, middle + 0.7 * EM), row.file, room, 0.8, ink=FAINT_INK)
        page.paste(_tile(row.image, side), left, y)
        for column, images in enumerate(variants):
            page.paste(_tile(images[index], side), first + column * (side + GAP), y)
        if context:
            inner = round(context * side / image_side)
            page.corners((left + inner, y + inner, left + side - 1 - inner, y + side - 1 - inner))
    end = top + len(rows) * (side + GAP)
    for number, line in enumerate(foot):
        below = end + (0.9 + 1.4 * number) * EM
        page.write((left, below), line, width - left - EM, 0.85, ink=FAINT_INK)
    return page.picture


def preview(
    recipe: Recipe | dict[str, Any] | str | Path | None,
    data: str | Path | np.ndarray | Sequence[np.ndarray],
    out: str | Path,
    *,
    images: int | None = None,
    variants: int = 16,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Draw a contact sheet of training images and what the ``augment`` list makes of them.

    Parameters
    ----------
    recipe : Recipe, dict, str or Path, optional
        A recipe, its keys, a YAML file or an installed recipe's name; None:
        defaults.
    data : str, Path, (n, h, w, bands) array, (h, w, bands) array or list of the latter
        A folder or manifest that `tltool.finetune` takes, whose training split
        images are drawn from at random; or images in memory, 0..255, of which
        the first are shown and which have no class.
    out : str or Path
        The PNG to write.
    images : int, optional
        Rows; None: one for each class, 6 at most.
    variants : int
        Columns beside the originals.
    seed : int
        Seeds the choice of images and their variants.
    overwrite : bool
        Allow replacing `out`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    RecipeError, DataError, ImageError, UsageError, OutputError

    Examples
    --------
    >>> import numpy as np
    >>> import tltool
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> tltool.preview({"augment": ["D4"]}, images, "sheet.png", variants=3).name
    'sheet.png'
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"`out`: expected the name of a PNG file, received {out}")
    for name, value, least in (("images", images, 1), ("variants", variants, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UsageError(f"`{name}`: expected {least} or more, received {value}")
    refuse_existing(out, overwrite)
    title = "augmentation"
    if isinstance(recipe, str | Path):
        title = f"{Path(recipe).stem}: {title}"
    if isinstance(recipe, dict):
        recipe = make_recipe(recipe)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    augmenter = Augmenter(recipe.augment)
    source, facts = "arrays", None
    if isinstance(data, str | Path):
        dataset = read_dataset(data, recipe)
        augmenter.check_classes([name for task in dataset.tasks for name in task.classes])
        chosen = _choose(dataset, recipe, images, seed)
        source, facts = str(dataset.source), dataset.facts
    else:
        chosen = _rows_of_arrays(data, images)
    sizes = _sizes(recipe, facts, chosen[0].image)
    adapt = cut_middle if sizes.cut else fit_side
    rows = [
        _Row(adapt(row.image, sizes.side), row.classes, row.file)
        for row in chosen
        if not sizes.cut or min(row.image.shape[:2]) >= sizes.side
    ]
    if not rows:
        raise DataError(f"{source}: every image is smaller than {sizes.side} px")
    augmenter.check_bands(rows[0].image.shape[2], sizes.side)
    drawn = [_variant(rows, augmenter, sizes.context, seed, n) for n in range(variants)]
    note = f"{source}, {sizes.side} px, {variants} variants, seed {seed}"
    lines, foot = _lines(recipe.augment), _foot(sizes, augmenter)
    sheet = draw_sheet(rows, drawn, sizes.context, title, note, lines, foot)
    with atomic_path(out) as partial:
        sheet.save(partial, optimize=True)
    return out

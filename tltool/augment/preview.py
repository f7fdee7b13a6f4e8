"""A contact sheet of what a recipe's ``augment`` list makes of some training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tltool.augment.pipeline import Augmenter
from tltool.data.dataset import Dataset, Sample
from tltool.data.folders import read_dataset
from tltool.data.images import cut_middle, fit_side, read_image
from tltool.errors import DataError, ImageError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.pictures.typeface import load_font, typeface_for
from tltool.recipe import Recipe, load_recipe

PAPER, INK, FAINT_INK = (255, 255, 255), (28, 32, 38), (104, 112, 122)
MOST_ROWS = 6  # where the number of images is not told
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


def _sizes(recipe: Recipe, dataset: Dataset, first: np.ndarray) -> _Sizes:
    # As training decides.
    height, width = first.shape[:2]
    context = recipe.context or 0
    if dataset.facts is not None:
        patch, cut = recipe.patch or dataset.facts.patch, dataset.facts
        if recipe.context is None:
            context = min(cut.context, (cut.patch + 2 * cut.context - patch) // 2)
        return _Sizes(min(patch + 2 * context, height, width), max(0, context), cut=True)
    if recipe.patch is not None:
        return _Sizes(recipe.patch + 2 * context, context, cut=False)
    whole = height == width and height > 2 * context
    return _Sizes(height if whole else 224 + 2 * context, context, cut=False)


def _classes(dataset: Dataset, sample: Sample) -> tuple[str, ...]:
    pairs = zip(dataset.tasks, sample.labels, strict=True)
    return tuple(task.classes[index] for task, told in pairs for index in told or ())


def _order(dataset: Dataset, seed: int) -> list[Sample]:
    """Training samples at random, in turn of each set of classes."""
    samples = dataset.samples["train"]
    by_class: dict[tuple[str, ...], list[Sample]] = {}
    for place in np.random.default_rng(seed).permutation(len(samples)):
        by_class.setdefault(_classes(dataset, samples[place]), []).append(samples[place])
    queues = [by_class[name] for name in sorted(by_class)]
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _choose(dataset: Dataset, recipe: Recipe, number: int | None, seed: int) -> list[_Row]:
    kinds = {_classes(dataset, sample) for sample in dataset.samples["train"]}
    wanted = min(len(kinds), MOST_ROWS) if number is None else number
    rows: list[_Row] = []
    for sample in _order(dataset, seed):
        if len(rows) == wanted:
            break
        try:
            image = read_image(sample.path, recipe.bands)
        except ImageError:
            continue
        rows.append(_Row(image, _classes(dataset, sample), sample.path.name))
    if not rows:
        raise DataError(f"{dataset.source}: not one image of the training split can be read")
    return rows


def _cut_to(rows: Sequence[_Row], sizes: _Sizes) -> list[_Row]:
    adapt = cut_middle if sizes.cut else fit_side
    fitting = [row for row in rows if not sizes.cut or min(row.image.shape[:2]) >= sizes.side]
    return [_Row(adapt(row.image, sizes.side), row.classes, row.file) for row in fitting]


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
        place: tuple[float, float],
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
        self._draw.text(place, text, ink, font, anchor=anchor)
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


def _as_rgb(image: np.ndarray) -> np.ndarray:
    if image.shape[2] < 3:
        return np.repeat(image[..., :1], 3, axis=2)
    return image[..., :3]


def _tile_side(side: int) -> int:
    if side < SMALLEST_TILE:
        return side * -(-SMALLEST_TILE // side)
    return min(side, LARGEST_TILE)


def _tile(image: np.ndarray, side: int) -> np.ndarray:
    shown = np.ascontiguousarray(_as_rgb(image))
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
    """Name and settings of an entry of the ``augment`` list, in one line."""
    name, settings = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    settings = {"transforms": settings} if isinstance(settings, list) else dict(settings or {})
    inner = [" ".join(describe_entry(e)).strip() for e in settings.pop("transforms", ())]
    told = ", ".join(f"{key} {_plain(value)}" for key, value in settings.items())
    return name, "; ".join(part for part in (" | ".join(inner), told) if part)


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
    for number, (name, told) in enumerate(lines):
        y = (4.7 + 1.45 * number) * EM
        width = page.write((left, y), name, room)
        page.write((left + width + 0.6 * EM, y), told, room - width - EM, ink=FAINT_INK)


def _foot(sizes: _Sizes, augmenter: Augmenter) -> list[str]:
    notes = []
    if sizes.context:
        notes.append(
            "Corners mark the patch that is judged; around it is what the network sees besides."
        )
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
        Margin around the judged patch, px of the images.
    title, note : str
        The heading, and what stands faintly beside it.
    lines : sequence of (str, str)
        Names and settings, above the images.
    foot : sequence of str
        Beneath them.

    Returns
    -------
    PIL.Image.Image
        RGB on white.
    """
    image_side = rows[0].image.shape[0]
    side = _tile_side(image_side)
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
    for place, row in enumerate(rows):
        y = top + place * (side + GAP)
        _draw_row(page, row, [v[place] for v in variants], (left, first, y), side)
        if context:
            inner = round(context * side / image_side)
            page.corners((left + inner, y + inner, left + side - 1 - inner, y + side - 1 - inner))
    end = top + len(rows) * (side + GAP)
    for number, line in enumerate(foot):
        below = end + (0.9 + 1.4 * number) * EM
        page.write((left, below), line, width - left - EM, 0.85, ink=FAINT_INK)
    return page.picture


def _draw_row(
    page: _Page, row: _Row, images: Sequence[np.ndarray], where: tuple[int, int, int], side: int
) -> None:
    left, first, y = where
    middle, room = y + side / 2, left - 3 * EM
    page.write((2 * EM, middle - 0.6 * EM), _label(row), room)
    page.write((2 * EM, middle + 0.7 * EM), row.file, room, 0.8, ink=FAINT_INK)
    page.paste(_tile(row.image, side), left, y)
    for column, image in enumerate(images):
        page.paste(_tile(image, side), first + column * (side + GAP), y)


def _check_numbers(images: int | None, variants: int, seed: int) -> None:
    for name, value, least in (("images", images, 1), ("variants", variants, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UsageError(f"{name}: expected {least} or more, received {value}")


def preview(
    recipe: Recipe | str | Path | None,
    data: str | Path,
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
    recipe : Recipe, str or Path, optional
        A recipe, a YAML file or an installed recipe's name; None: defaults.
    data : str or Path
        What `tltool.finetune` takes; images are drawn from the training split.
    out : str or Path
        The PNG to write.
    images : int, optional
        Rows; None: one for each class, 6 at most.
    variants : int
        Columns beside the originals.
    seed : int
        Of the choice of images and of their variants.
    overwrite : bool
        Allow replacing `out`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    RecipeError, DataError, ImageError, UsageError, OutputError
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"out: expected the name of a PNG file, received {out}")
    _check_numbers(images, variants, seed)
    refuse_existing(out, overwrite)
    name = "" if recipe is None or isinstance(recipe, Recipe) else f"{Path(recipe).stem}: "
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    augmenter = Augmenter(recipe.augment)
    dataset = read_dataset(data, recipe)
    augmenter.check_classes([name for task in dataset.tasks for name in task.classes])
    chosen = _choose(dataset, recipe, images, seed)
    sizes = _sizes(recipe, dataset, chosen[0].image)
    rows = _cut_to(chosen, sizes)
    if not rows:
        raise DataError(f"{dataset.source}: every image is smaller than {sizes.side} px")
    augmenter.check_bands(rows[0].image.shape[2], sizes.side)
    drawn = [_variant(rows, augmenter, sizes.context, seed, n) for n in range(variants)]
    note = f"{dataset.source}, {sizes.side} px, {variants} variants, seed {seed}"
    lines, foot = _lines(recipe.augment), _foot(sizes, augmenter)
    sheet = draw_sheet(rows, drawn, sizes.context, f"{name}augmentation", note, lines, foot)
    with atomic_path(out) as partial:
        sheet.save(partial, optimize=True)
    return out

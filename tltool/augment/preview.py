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
from tltool.data.dataset import Dataset, Sample
from tltool.data.folders import read_dataset
from tltool.data.images import cut_middle, fit_side
from tltool.errors import DataError, ImageError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.pictures.drawing import load_font, typeface_for
from tltool.recipe import Recipe, override_recipe
from tltool.runtime import quiet_import

Colour = tuple[int, int, int]
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
            image = sample.read(recipe.bands)
            rows.append(_Row(image, _classes(dataset, sample), sample.path.name))
    if not rows:
        raise DataError(f"{dataset.source}: not one image of the training split can be read")
    return rows


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


def _sheet(
    rows: Sequence[_Row],
    variants: Sequence[np.ndarray],
    context: int,
    heading: tuple[str, str],
    entries: Sequence[Any],
    foot: Sequence[str],
) -> Image.Image:
    """Draw the originals, then their variants, a row an image; RGB on white.

    Parameters
    ----------
    rows : sequence of _Row
    variants : sequence of (rows, side, side, bands) uint8 arrays
        Columns.
    context : int
        Margin around the patch, px of the images.
    heading : (str, str)
        The title, and what stands faintly beside it.
    entries : sequence
        Entries to name above the images.
    foot : sequence of str
        Lines beneath the images.
    """
    lines = list(map(describe_entry, entries)) or [("nothing", "the augment list is empty")]
    if len(lines) > MOST_LINES:
        more = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 1], ("...", f"and {more} more")]
    image_side = rows[0].image.shape[0]
    enlarged = image_side * -(-SMALLEST_TILE // image_side)
    side = min(image_side, LARGEST_TILE) if image_side >= SMALLEST_TILE else enlarged
    labels = [", ".join(row.classes) or "not labelled" for row in rows]
    texts = [(text, EM) for text in labels] + [(row.file, round(EM * 0.8)) for row in rows]
    longest = max(load_font(size, typeface_for(text)).getlength(text) for text, size in texts)
    left = 3 * EM + min(LABEL_WIDTH, round(longest))
    top = round((6.2 + 1.45 * len(lines)) * EM)
    lefts = [left, *(left + side + EM + column * (side + GAP) for column in range(len(variants)))]
    width = max(lefts[-1] + side + 2 * EM, 56 * EM)
    end = top + len(rows) * (side + GAP)
    page = Image.new("RGB", (width, end + round((1.2 + 1.4 * len(foot)) * EM)), PAPER)
    draw = ImageDraw.Draw(page)

    def write(
        x: float, y: float, text: str, room: float, scale: float = 1.0, ink: Colour = INK
    ) -> float:
        """Write one line, shortened to `room`; gives its width."""
        font = load_font(round(EM * scale), typeface_for(text))
        while text and font.getlength(text) > room:
            text = text.removesuffix("...")[:-1].rstrip() + "..." if len(text) > 4 else ""
        draw.text((x, y), text, ink, font, anchor="lm")
        return font.getlength(text)

    room = width - 4 * EM
    used = write(2 * EM, 2.6 * EM, heading[0], room, 1.6)
    write(2 * EM + used + EM, 2.75 * EM, heading[1], room - used - EM, ink=FAINT_INK)
    for number, (name, given) in enumerate(lines):
        y = (4.7 + 1.45 * number) * EM
        used = write(2 * EM, y, name, room)
        write(2 * EM + used + 0.6 * EM, y, given, room - used - EM, ink=FAINT_INK)
    for column, x in enumerate(lefts):
        ink = FAINT_INK if column else INK
        write(x, top - 0.8 * EM, str(column) if column else "original", side, 0.85, ink)
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + index * (side + GAP)
        write(2 * EM, y + side / 2 - 0.6 * EM, label, left - 3 * EM)
        write(2 * EM, y + side / 2 + 0.7 * EM, row.file, left - 3 * EM, 0.8, FAINT_INK)
        for x, image in zip(lefts, (row.image, *(v[index] for v in variants)), strict=True):
            rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
            tile = Image.fromarray(np.ascontiguousarray(rgb))
            method = Image.Resampling.NEAREST if image_side < side else Image.Resampling.LANCZOS
            page.paste(tile if image_side == side else tile.resize((side, side), method), (x, y))
        if context:
            inner = round(context * side / image_side)
            first, last = inner, side - 1 - inner
            arm = max(4, (last - first) // 6)
            # Corners, light edged with dark so that every ground shows them.
            for edge, ink in ((1, INK), (0, PAPER)):
                for x, to_x in ((first, first + arm), (last - arm, last)):
                    for at in (first, last):
                        near, far, low, high = x - edge, to_x + edge, at - edge, at + edge
                        draw.rectangle((left + near, y + low, left + far, y + high), ink)
                        draw.rectangle((left + low, y + near, left + high, y + far), ink)
    for number, line in enumerate(foot):
        y = end + (0.9 + 1.4 * number) * EM
        write(left, y, line, width - left - EM, 0.85, FAINT_INK)
    return page


def preview(
    recipe: Recipe | dict[str, Any] | str | Path | None,
    data: str | Path | np.ndarray | Sequence[np.ndarray] | tuple[Any, Any],
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
    data : str, Path, (x, y), (n, h, w, bands) array, (h, w, bands) array or list of these
        A folder or manifest, or a tuple of images and labels, that
        `tltool.finetune` takes, from whose training split images are drawn at
        random; or images alone, 0..255, of which the first are shown.
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
    recipe = override_recipe(recipe)
    augmenter = Augmenter(recipe.augment)
    dataset, source, facts, given = None, "arrays", None, list[Any]()
    if isinstance(data, str | Path):
        dataset = read_dataset(data, recipe)
        source, facts = str(dataset.source), dataset.facts
    else:
        quiet_import("keras")
        from tltool.data.arrays import as_images, read_arrays

        if isinstance(data, tuple):
            dataset = read_arrays(data, recipe)
        given = [data] if isinstance(data, np.ndarray) and data.ndim == 3 else list(data)
    if dataset is not None:
        augmenter.check_classes([name for task in dataset.tasks for name in task.classes])
        chosen = _choose(dataset, recipe, images, seed)
    else:
        chosen = [
            _Row(as_images(np.asarray(image)[None], name="data")[0], (), f"image {index}")
            for index, image in enumerate(given[: images or MOST_ROWS])
        ]
        if not chosen:
            raise DataError("`data`: expected images, received none")
    # Sizes as training decides them.
    height, width = chosen[0].image.shape[:2]
    context = recipe.context or 0
    if facts is not None:
        patch = recipe.patch or facts.patch
        if recipe.context is None:
            context = max(0, min(facts.context, (facts.patch + 2 * facts.context - patch) // 2))
        side = min(patch + 2 * context, height, width)
    elif recipe.patch is None and height == width and height > 2 * context:
        side = height
    else:
        side = (recipe.patch or 224) + 2 * context
    adapt = fit_side if facts is None else cut_middle
    rows = [
        _Row(adapt(row.image, side), row.classes, row.file)
        for row in chosen
        if facts is None or min(row.image.shape[:2]) >= side
    ]
    if not rows:
        raise DataError(f"{source}: every image is smaller than {side} px")
    augmenter.check_bands(rows[0].image.shape[2], side)
    drawn = []
    for number in range(variants):
        single = [row.classes[0] if len(row.classes) == 1 else None for row in rows]
        keys = [(seed, number, index) for index in range(len(rows))]
        mixed = np.stack(list(map(augmenter, [row.image for row in rows], keys, single)))
        if augmenter.mixer is not None:
            mix = augmenter.mixer.with_margin(context)
            floats, _ = mix(mixed.astype(np.float32), {}, (seed, number))
            mixed = np.rint(floats).clip(0, 255).astype(np.uint8)
        drawn.append(mixed)
    foot = []
    if context:
        foot.append("Corners mark the patch itself; around it is what the network sees besides.")
    if augmenter.mixer is not None:
        foot.append("Mixed with the other rows of the same column.")
    if augmenter.normalising:
        names = ", ".join(augmenter.normalising)
        foot.append(f"Not shown, because the network does it to every image: {names}.")
    note = f"{source}, {side} px, {variants} variants, seed {seed}"
    sheet = _sheet(rows, drawn, context, (title, note), recipe.augment, foot)
    with atomic_path(out) as partial:
        sheet.save(partial, optimize=True)
    return out

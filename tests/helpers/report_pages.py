"""Data to judge, and a report read back."""

import csv
from html.parser import HTMLParser

import numpy as np
from PIL import Image
from small_runs import PATCH

VOID = {"meta", "link", "img", "br", "path", "circle", "rect"}


def write_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((PATCH, PATCH), Image.Resampling.NEAREST).save(path)


def write_folders(folder, counts):
    """``folder/<split>/<class>/*.png``, as many as `counts` says: (split, class) -> number."""
    for (split, name), number in counts.items():
        for place in range(number):
            write_image(folder / split / name / f"{place}.png", hash((split, place)) % 1000)
    return folder


def write_manifest(path, header, rows):
    """A manifest of new images: a row holds what follows the image's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *header])
        for place, row in enumerate(rows):
            write_image(path.parent / f"{place}.png", place)
            writer.writerow([f"{place}.png", *row])
    return path


class Page(HTMLParser):
    """What a report holds."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.ids, self.images, self.links, self.charts = [], [], [], []
        self.sections, self.captions, self.headings, self.texts = [], 0, [], []
        self.tables, self.open = 0, []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "img":
            self.images.append(attrs)
        if tag == "a":
            self.links.append(attrs["href"])
        if tag == "svg" and "aria-hidden" not in attrs:
            self.charts.append(attrs)
        if tag == "section":
            self.sections.append(attrs["id"])
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        """All that is to be read, spaces made one."""
        return " ".join(" ".join(self.texts).split())

    def check(self):
        """Whatever is in it, a page has to hold this."""
        assert not self.open
        assert len(set(self.ids)) == len(self.ids)
        assert all(image["alt"] for image in self.images)
        assert all(image["src"].startswith("data:image/") for image in self.images)
        assert all(chart["role"] == "img" and chart["aria-label"] for chart in self.charts)
        assert all(link[1:] in self.ids for link in self.links)
        assert [link[1:] for link in self.links] == self.sections
        assert self.tables == self.captions
        assert self.headings[0] == 1
        steps = zip(self.headings, self.headings[1:], strict=False)
        assert all(after <= before + 2 for before, after in steps)
        # Nothing from elsewhere: no address but those of SVG's own kind, no script.
        assert "http://" not in self.source
        assert "https://" not in self.source
        assert "<script" not in self.source
        assert "url(" not in self.source

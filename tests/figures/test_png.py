"""The picture decodes, has its size, and shows what the map says."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from examples import ALL, bulge
from PIL import Image

from betaplane.figures import palette, png, repr_html
from betaplane.figures._labels import Box, along, beside
from betaplane.figures._layout import labels


@pytest.mark.parametrize("name", [name for name in ALL if name != "dense64"])
def test_every_example_decodes(name):
    picture = png(ALL[name](), dpi=60)
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        assert image.size == (600, 432)


def test_a_cell_has_its_color():
    with Image.open(io.BytesIO(png(bulge()))) as image:
        assert image.size == (1500, 1080)
        pixels = np.asarray(image.convert("RGB"))[100:880, 150:950].reshape(-1, 3) / 255
    for verdict in range(3):
        ramp = palette.paint(np.full(64, verdict), np.linspace(0, 1, 64))
        near = np.abs(pixels[::97, None] - ramp[None]).max(-1).min(1) < 0.02
        assert near.mean() > 0.05


def test_labels_stay_in_the_frame_and_apart():
    size = lambda text, bold: (7.0 * len(text), 12.0)  # noqa: E731
    placed = [each for each in labels(bulge(), (400, 400), size) if each.angle == 0]
    names = {each.text for each in placed}
    assert {"recommended", "(0.9, 0.999)", "(0.9, 0.95)", "yours"} <= names
    assert len({(each.x, each.y) for each in placed}) == len(placed)


def test_a_label_avoids_what_is_taken():
    frame = Box(0, 0, 200, 200)
    free = beside((100, 100), (40, 10), frame, [])
    assert free.left > 100
    moved = beside((100, 100), (40, 10), frame, [Box(100, 80, 200, 120, weight=5)])
    assert moved.right < 100


def test_a_label_follows_its_line():
    diagonal = np.column_stack([np.linspace(0, 200, 50)] * 2)
    found = along(diagonal, (40, 10), Box(0, 0, 200, 200), [])
    assert found is not None
    assert found.angle == pytest.approx(45)
    assert along(diagonal + 300, (40, 10), Box(0, 0, 200, 200), []) is None


def test_notebook_shows_the_picture_and_escapes():
    text = repr_html(ALL["all_good"]())
    found = re.search(r'src="data:image/png;base64,([^"]+)"', text)
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        assert image.size == (1000, 720)
    assert "<script" not in text
    assert "torch.optim.Adam(" in text

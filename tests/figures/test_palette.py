"""The verdicts stay apart for every eye and on a gray printer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from betaplane.figures import palette

VERDICTS, SHADES = np.repeat([0, 1, 2], 9), np.tile(np.linspace(0, 1, 9), 3)
EYES = {  # Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB
    "common": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB, shape (..., 3)."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = np.clip(light, 0, 1) @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])],
        axis=-1,
    )


def seen(eye: str) -> np.ndarray:
    return lab(linear(palette.paint(VERDICTS, SHADES)) @ EYES[eye].T)


@pytest.mark.parametrize(
    ("eye", "least"), [*((eye, 25.0) for eye in EYES if eye != "grey"), ("grey", 6.0)]
)
def test_any_two_verdicts_are_apart(eye, least):
    colors = seen(eye)
    for a, b in itertools.combinations(range(3), 2):
        apart = np.linalg.norm(
            colors[a == VERDICTS][:, None] - colors[b == VERDICTS][None], axis=-1
        )
        assert apart.min() > least, (a, b)


@pytest.mark.parametrize("eye", EYES)
def test_worse_is_darker(eye):
    lightness = seen(eye)[:, 0]
    assert (np.diff(lightness) < 0.5).all()


def test_ink_reads_on_good_and_paper_on_failing():
    luminance = linear(
        np.array(
            [palette.rgb(c) for c in (palette.INK, *palette.RAMPS[0], *palette.RAMPS[2], "#ffffff")]
        )
    )
    ink, good, good_end, failing, failing_end, paper = luminance @ [0.2126, 0.7152, 0.0722] + 0.05
    assert min(good, good_end) / ink > 4.5
    assert paper / max(failing, failing_end) > 4.5

"""Exposures during which a mount turned: stars draw arcs around its axis, whose place is known."""

import numpy as np
from scipy.ndimage import gaussian_filter


def star_trails(centre, size=(500, 400), turn=40.0, stars=60, seed=0):
    """Return an image, uint16, shape (height, width).

    Args:
        centre: x and y of the axis, pixels, origin 0; may lie outside the image.
        size: width and height, pixels.
        turn: degrees.
        stars: how many, within the longer side from the axis.
        seed: of stars and noise.
    """
    random = np.random.default_rng(seed)
    width, height = size
    image = np.zeros((height, width))
    radii = max(size) * np.sqrt(random.uniform(0.0005, 1, stars))
    for radius, first, flux in zip(radii, random.uniform(0, 2 * np.pi, stars), 10 ** random.uniform(4.6, 6.6, stars)):
        angles = first + np.linspace(0, np.radians(turn), int(radius * np.radians(turn) * 4) + 2)
        x, y = centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        for right in (0, 1):  # each moment's light is divided between the four pixels around it
            for up in (0, 1):
                share = np.abs(1 - right - (x - column)) * np.abs(1 - up - (y - row))
                inside = (column + right >= 0) & (column + right < width) & (row + up >= 0) & (row + up < height)
                np.add.at(image, (row[inside] + up, column[inside] + right), share[inside] * flux / len(angles))
    image = gaussian_filter(image, 1.0) + 1500 + 150 * np.linspace(-1, 1, width)  # seeing, sky and moonlight
    image = random.poisson(image) + random.normal(2048, 8, image.shape)
    image[random.integers(0, height, 60), random.integers(0, width, 60)] += random.exponential(2500, 60)
    return np.clip(image, 0, 16383).astype(np.uint16)

"""Superpixels: a picture cut into a few connected patches of like colour, by simple linear iterative clustering (SLIC).

Why: an explanation of a picture needs features that a person sees; twenty patches are that, a million pixels are not.
Source: Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", IEEE TPAMI 34 (2012). CIELAB for D65 white.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
STILL = 0.02  # of a patch's side: centres that move less have arrived
LARGE = 0.5  # of a patch's ideal size: a piece of it is a patch of its own
SMALLEST = 0.2  # of it: what is smaller joins a neighbour
FINEST = 320  # pixels of a side: a larger picture is cut in a coarser copy
WHITE = np.array([0.95047, 1.0, 1.08883])
XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
Labels = NDArray[np.int64]
Numbers = NDArray[np.float64]


def slic(image: Any, num_segments: int = 20, *, compactness: float = 5.0, rounds: int = ROUNDS) -> Labels:
    """The patch (h, w), numbered from 0 without a gap, of every pixel; each patch is connected.

    image: (h, w, 3) RGB as uint8, or numbers in [0, 1]; (h, w) is grey. num_segments: about how many patches. compactness: weight of nearness
    against colour: a pixel joins the centre of least dc² / compactness² + ds² / S², where dc is the distance in CIELAB, ds that in pixels, and
    S = sqrt(h·w / num_segments). Large values give squares, small ones follow the colours. Raises ValueError naming the argument.

    >>> halves = np.zeros((10, 20, 3), np.uint8)
    >>> halves[:, 10:] = 255
    >>> found = slic(halves, 2, compactness=1)
    >>> bool((found[:, :10] == found[0, 0]).all() and (found[:, 10:] == found[0, 19]).all()), int(found.max())
    (True, 1)
    """
    if num_segments < 1:
        raise ValueError("num_segments: at least one is needed")
    if not compactness > 0:
        raise ValueError("compactness: must be above zero")
    whole = _shaped(image)
    coarse = -(-max(whole.shape[:2]) // FINEST)
    picture = _unit(whole if coarse == 1 else _coarser(whole, coarse), whole.dtype)
    height, width = picture.shape[:2]
    colours = lab(picture) / compactness
    step = float(np.sqrt(height * width / num_segments))
    found = _connected(_clustered(colours, _grid(height, width, step), step, rounds), step * step)
    labels = np.unique(found, return_inverse=True)[1].reshape(height, width).astype(np.int64)
    return labels if coarse == 1 else labels.repeat(coarse, axis=0).repeat(coarse, axis=1)[: whole.shape[0], : whole.shape[1]]


def lab(image: Any) -> Numbers:
    """CIELAB (h, w, 3) of RGB (h, w, 3): L in [0, 100]. Raises ValueError (image).

    >>> lab(np.full((1, 1, 3), 255, np.uint8)).round(1)[0, 0, 0].item()
    100.0
    """
    held = _shaped(image)
    scaled = _unit(held, held.dtype)
    linear = np.where(scaled > 0.04045, ((scaled + 0.055) / 1.055) ** 2.4, scaled / 12.92)
    part = linear @ XYZ.T / WHITE
    cube = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    x, y, z = cube[..., 0], cube[..., 1], cube[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def borders(segments: Labels) -> NDArray[np.bool_]:
    """The pixels (h, w) whose right or lower neighbour belongs to another patch.

    >>> borders(np.array([[0, 0, 1]])).tolist()
    [[False, True, False]]
    """
    found = np.zeros(segments.shape, dtype=bool)
    found[:, :-1] |= segments[:, :-1] != segments[:, 1:]
    found[:-1] |= segments[:-1] != segments[1:]
    return found


def _shaped(image: Any) -> NDArray[Any]:
    """(h, w, 3)."""
    held = np.asarray(image)
    if held.ndim == 2:
        held = np.repeat(held[:, :, None], 3, axis=2)
    if held.ndim != 3 or held.shape[2] != 3 or not held.size:
        raise ValueError(f"image: expected height × width × 3, got shape {held.shape}")
    return held


def _unit(picture: NDArray[Any], kind: np.dtype[Any]) -> Numbers:
    """In [0, 1]; `kind` is the image's own."""
    numbers = picture.astype(np.float64) / (255 if kind == np.uint8 else 1)
    if not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 1:
        raise ValueError("image: expected bytes, or numbers between 0 and 1")
    return numbers


def _coarser(picture: NDArray[Any], times: int) -> Numbers:
    """Means of blocks of times × times pixels; a block over the edge repeats the edge's pixels."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % times), (0, -width % times), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // times, times, padded.shape[1] // times, times, 3)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _grid(height: int, width: int, step: float) -> Numbers:
    """Centres (k, 2) as rows and columns, evenly over the picture."""
    down, across = max(1, round(height / step)), max(1, round(width / step))
    rows, columns = (np.arange(down) + 0.5) * height / down, (np.arange(across) + 0.5) * width / across
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _clustered(colours: Numbers, places: Numbers, step: float, rounds: int) -> Labels:
    """K-means in colour and place, where a centre looks no further than its own window of 2·step each way."""
    height, width = colours.shape[:2]
    shades = colours[places[:, 0].astype(int), places[:, 1].astype(int)]
    nearest = np.zeros((height, width), dtype=np.int64)
    reach = int(np.ceil(2 * step))
    down, across = np.arange(height) + 0.5, np.arange(width) + 0.5
    channels = [*(colours[..., i].ravel() for i in range(3)), np.repeat(down, width), np.tile(across, height)]
    for _ in range(rounds):
        best = np.full((height, width), np.inf)
        for number, ((row, column), shade) in enumerate(zip(places, shades, strict=True)):
            window = (slice(max(0, int(row) - reach), int(row) + reach + 1), slice(max(0, int(column) - reach), int(column) + reach + 1))
            far = ((down[window[0], None] - row) ** 2 + (across[None, window[1]] - column) ** 2) / (step * step)
            far += ((colours[window] - shade) ** 2).sum(axis=2)
            closer = far < best[window]
            np.copyto(best[window], far, where=closer)
            np.copyto(nearest[window], number, where=closer)
        flat = nearest.ravel()
        counts = np.bincount(flat, minlength=len(places))
        kept = counts > 0
        moved = np.stack([np.bincount(flat, one, len(places))[kept] / counts[kept] for one in channels], axis=1)
        shift = np.abs(places[kept] - moved[:, 3:]).max()
        shades[kept], places[kept] = moved[:, :3], moved[:, 3:]
        if shift < STILL * step:
            break
    return nearest


def _connected(labels: Labels, ideal: float) -> Labels:
    """Connected patches: of each cluster its largest piece and what is nearly as large as a patch should be; the rest joins its neighbours."""
    from scipy import ndimage

    pieces = np.zeros(labels.shape, dtype=np.int64)
    cores: list[int] = []
    count = 0
    for label in np.unique(labels):
        part, found = ndimage.label(labels == label)
        sizes = np.bincount(part.ravel())[1:]
        cores += [count + i for i in range(found) if sizes[i] >= LARGE * ideal or i == int(sizes.argmax())]
        pieces[part > 0] = part[part > 0] + count - 1
        count += int(found)
    keeps = np.zeros(count, dtype=bool)
    keeps[cores] = True
    grown = _absorbed(pieces, keeps)
    sizes = np.bincount(grown.ravel(), minlength=count)
    keeps &= sizes >= min(SMALLEST * ideal, sizes.max())
    return _absorbed(grown, keeps)


def _absorbed(pieces: Labels, keeps: NDArray[np.bool_]) -> Labels:
    """Every piece that is not kept has become the kept neighbour of its longest border, round by round from the kept ones outwards."""
    while not keeps[pieces].all():
        sides = [(pieces[:, :-1], pieces[:, 1:]), (pieces[:-1], pieces[1:])]
        pairs = [np.stack(two)[:, keeps[two[0]] != keeps[two[1]]] for two in sides]
        first, second = np.concatenate(pairs, axis=1)
        small, large = np.where(keeps[first], second, first), np.where(keeps[first], first, second)
        border, length = np.unique(small * len(keeps) + large, return_counts=True)
        small, large = border // len(keeps), border % len(keeps)
        becomes = np.arange(len(keeps))
        order = np.argsort(length, kind="stable")  # the longest border is written last
        becomes[small[order]] = large[order]
        pieces = becomes[pieces]
    return pieces

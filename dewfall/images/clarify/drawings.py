"""The pictures that the job leaves behind: a heat map beside the segmented picture, and the objects that a detector found."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import heatmaps

Pixels = NDArray[np.uint8]
SIDE = 320  # pixels that a panel's longer side has at least
GAP, BAR, ROOM, LINE = 10, 12, 64, 22  # between panels, the colour scale, its numbers, a line of text
INK, PAPER, BOX = (36, 41, 47), (255, 255, 255), (255, 210, 0)


def heat(image: Pixels, segments: NDArray[np.int64], values: NDArray[np.float64], title: str, box: Any = None) -> bytes:
    """A JPEG: the picture with its segments, the heat map of their values, and the scale of its colours; `box` of fractions is drawn on both."""
    times = _times(image)
    big, patches = _enlarged(image, times), _enlarged(segments, times)
    largest = float(np.abs(values).max())
    panels = [heatmaps.outlined(big, patches), heatmaps.heatmap(big, patches, values)]
    height, width = big.shape[:2]
    sheet, pen, font = _sheet(2 * width + 2 * GAP + BAR + ROOM, height + LINE)
    pen.text((4, 3), title, fill=INK, font=font)
    for number, panel in enumerate(panels):
        left = number * (width + GAP)
        _paste(sheet, panel, left, LINE)
        if box is not None:
            _frame(pen, box, width, height, left)
    left = 2 * (width + GAP)
    _paste(sheet, np.repeat(heatmaps.scale(height), BAR, axis=1), left, LINE)
    for value, top in ((largest, LINE), (0.0, LINE + height // 2 - 8), (-largest, LINE + height - 16)):
        pen.text((left + BAR + 4, top), f"{value:.3g}", fill=INK, font=font)
    return _jpeg(sheet)


def objects(image: Pixels, found: NDArray[np.float64], names: list[str]) -> bytes:
    """A JPEG: the picture with a numbered box per object and what each is."""
    times = _times(image)
    big = _enlarged(image, times)
    height, width = big.shape[:2]
    lines = [f"{i + 1}: {name}, score {row[1]:.3f}" for i, (name, row) in enumerate(zip(names, found, strict=True))] or ["no objects"]
    sheet, pen, font = _sheet(width, height + LINE * len(lines))
    _paste(sheet, big, 0, 0)
    for number, row in enumerate(found):
        left, top = _frame(pen, row[2:], width, height, 0, 0)
        pen.rectangle((left, top, left + 16, top + 16), fill=BOX)
        pen.text((left + 4, top), str(number + 1), fill=INK, font=font)
    for number, line in enumerate(lines):
        pen.text((4, height + 3 + number * LINE), line, fill=INK, font=font)
    return _jpeg(sheet)


def _times(image: Pixels) -> int:
    return max(1, -(-SIDE // int(max(image.shape[:2]))))


def _enlarged(pixels: Any, times: int) -> Any:
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def _sheet(width: int, height: int) -> tuple[Any, Any, Any]:
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (width, height), PAPER)
    return sheet, ImageDraw.Draw(sheet), ImageFont.load_default(13)


def _paste(sheet: Any, pixels: Pixels, left: int, top: int) -> None:
    from PIL import Image

    sheet.paste(Image.fromarray(pixels), (left, top))


def _frame(pen: Any, box: Any, width: int, height: int, left: int, top: int = LINE) -> tuple[float, float]:
    """Draw a box of fractions on a panel; its upper left corner."""
    place = np.clip(np.asarray(box, dtype=np.float64).reshape(2, 2), 0, 1) * (width - 1, height - 1) + (left, top)
    first, last = place.min(axis=0).tolist(), place.max(axis=0).tolist()
    pen.rectangle((*first, *last), outline=BOX, width=2)
    return first[0], first[1]


def _jpeg(sheet: Any) -> bytes:
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()

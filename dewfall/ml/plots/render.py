"""From a chart to bytes, without a browser: SVG, PNG, PDF by vl-convert; SVG for pages that are read in light and dark.

Why SVG in pages: it needs no script, opens offline, prints sharply, and weighs a few kilobytes.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import Any

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

VERSION = "6.4"
# CSS variables of the page, by the fixed colours that charts are written in. What is drawn on a coloured cell is not among them.
VARIABLES = {
    look.INK: "--ink",
    look.SOFT_INK: "--soft-ink",
    look.RULE: "--rule",
    look.BLUE: "--blue",
    look.VERMILION: "--vermilion",
    look.GREEN: "--green",
    look.ORANGE: "--orange",
    look.SKY: "--sky",
    look.PURPLE: "--purple",
}


def svg(spec: Spec) -> str:
    """The chart as SVG text. Raises ValueError with Vega's word where the document is none.

    >>> svg(look.chart("T", {"data": {"values": []}, "mark": "bar", "encoding": {}}))[:4]
    '<svg'
    """
    return str(_converter().vegalite_to_svg(_checked(spec), vl_version=VERSION))


def themed_svg(spec: Spec) -> str:
    """SVG whose ink and palette follow the page's CSS variables (`reports.html` sets them for light and dark)."""
    text = svg(spec)
    for value, variable in VARIABLES.items():
        text = re.sub(re.escape(value), f"var({variable},{value})", text, flags=re.IGNORECASE)
    return text


def png(spec: Spec, *, scale: float = 2.0) -> bytes:
    """The chart as PNG on white paper; `scale` 1 is one pixel a CSS pixel."""
    return _drawn(_checked(_on_paper(spec)), scale)


def pdf(spec: Spec) -> bytes:
    """The chart as a PDF page of its own size."""
    return bytes(_converter().vegalite_to_pdf(_checked(_on_paper(spec)), vl_version=VERSION))


@lru_cache(maxsize=64)  # a report's charts are drawn once for its PDF and its notebook
def _drawn(document: str, scale: float) -> bytes:
    return bytes(_converter().vegalite_to_png(document, vl_version=VERSION, scale=scale))


def _on_paper(spec: Spec) -> Spec:
    return spec | {"background": look.PAPER}


def _checked(spec: Spec) -> str:
    if "$schema" not in spec:
        raise ValueError("spec: a Vega-Lite document names its $schema")
    return json.dumps(spec)


@cache
def _converter() -> Any:
    import vl_convert

    return vl_convert

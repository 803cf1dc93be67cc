"""A report on paper: A4 pages with numbers, tables that repeat their head, charts as pictures."""

from __future__ import annotations

import io
import re
from typing import Any

from dewfall.ml.plots import render
from dewfall.ml.reports.document import Block, Heading, Picture, Report, Table, Text, printed

MARGIN = 51.0  # points, 18 mm
WIDTH, HEIGHT = 595.27, 841.89  # A4, points
INK, SOFT, RULE, SHADE = "#24292f", "#57606a", "#d8dee4", "#f6f8fa"
TONES = {"plain": INK, "good": "#1a7f37", "bad": "#b35900"}
OTHER = "HeiseiKakuGo-W5"
SCALE = 2.0


def write(report: Report) -> bytes:
    """The report as PDF.

    >>> write(Report("R", [Text("A sentence.")]))[:5]
    b'%PDF-'
    """
    from reportlab.platypus import SimpleDocTemplate, Spacer

    file = io.BytesIO()
    document = SimpleDocTemplate(
        file, pagesize=(WIDTH, HEIGHT), leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN, title=report.title
    )
    story: list[Any] = [_paragraph(report.title, 20, after=4)]
    if report.subtitle:
        story.append(_paragraph(report.subtitle, 10, color=SOFT, after=10))
    for block in report.blocks:
        story += _flowables(block)
        story.append(Spacer(1, 5))
    document.build(story, onFirstPage=_numbered, onLaterPages=_numbered)
    return file.getvalue()


def _flowables(block: Block) -> list[Any]:
    from reportlab.platypus import Image, KeepTogether

    if isinstance(block, Heading):
        return [_paragraph(block.text, 15 if block.level == 1 else 12, before=10, after=3, follow=True)]
    if isinstance(block, Text):
        return [_paragraph(block.text, 10, color=TONES.get(block.tone, INK))]
    if isinstance(block, Table):
        return [_table(block)]
    picture = io.BytesIO(block.body if isinstance(block, Picture) else render.png(block.spec, scale=SCALE))
    image = Image(picture)
    shrink = min(0.75 / SCALE, (WIDTH - 2 * MARGIN - 12) / image.imageWidth, (HEIGHT - 2 * MARGIN - 60) / image.imageHeight)
    image.drawWidth, image.drawHeight = image.imageWidth * shrink, image.imageHeight * shrink
    image.hAlign = "LEFT"
    return [KeepTogether([image, _paragraph(block.caption, 9, color=SOFT)] if block.caption else [image])]


def _table(table: Table) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table as Grid

    cells = [[_paragraph(name, 9, color=SOFT) for name in table.columns]]
    cells += [[_paragraph(printed(cell), 9) for cell in row] for row in table.rows]
    weights = [max(len(str(name)), *(min(len(printed(row[i])), 60) for row in table.rows), 4) for i, name in enumerate(table.columns)]
    room = WIDTH - 2 * MARGIN - 12
    style = [("LINEBELOW", (0, 0), (-1, -1), 0.5, HexColor(RULE)), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    style += [("BACKGROUND", (0, number + 1), (-1, number + 1), HexColor(SHADE)) for number in table.marks]
    return Grid(cells, colWidths=[room * weight / sum(weights) for weight in weights], repeatRows=1, style=style, hAlign="LEFT")


def _paragraph(text: str, size: float, *, color: str = INK, before: float = 0, after: float = 0, follow: bool = False) -> Any:
    from xml.sax.saxutils import escape

    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    name = "Helvetica-Bold" if follow or size >= 20 else "Helvetica"
    style = ParagraphStyle(
        f"s{size}{color}",
        fontName=name,
        fontSize=size,
        leading=size * 1.3,
        textColor=HexColor(color),
        spaceBefore=before,
        spaceAfter=after,
        keepWithNext=follow,
    )
    return Paragraph(_lettered(escape(text)), style)


def _lettered(text: str) -> str:
    """Letters that Helvetica lacks in a font that every reader of PDF brings along: Greek, Cyrillic, kana and kanji."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont

    if text.isascii():
        return text
    text = text.replace("∞", "<font name='Symbol'>\u221e</font>")
    strange = re.compile(r"[\u0370-\u04ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+")
    if not strange.search(text):
        return text
    pdfmetrics.registerFont(UnicodeCIDFont(OTHER))
    return strange.sub(lambda found: f"<font name='{OTHER}'>{found[0]}</font>", text)


def _numbered(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.setFillGray(0.4)
    canvas.drawRightString(WIDTH - MARGIN, MARGIN / 2, str(document.page))
    canvas.restoreState()

"""A report is one page, a PDF and a notebook of the same blocks."""

from __future__ import annotations

import doctest
import json
import re
from types import ModuleType

import numpy as np
import pytest

from dewfall.ml.plots import shapley
from dewfall.ml.reports import document, html, notebook, pdf
from dewfall.ml.reports.document import Chart, Heading, Report, Table, Text

RNG = np.random.default_rng(0)
SWARM = shapley.beeswarm(RNG.normal(size=(5000, 12)), RNG.normal(size=(5000, 12)), [f"f{i}" for i in range(12)])
ROWS = [["CI", 0.4], ["a|b", float("inf")]]
REPORT = Report(
    "Analysis <1>",
    [
        Heading("Bias"),
        Text("A & B", "bad"),
        Table(["metric", "value"], ROWS, frozenset([1])),
        Chart(SWARM, "all rows"),
    ],
    "adult.csv",
)


def test_a_page_holds_everything_and_stays_light() -> None:
    page = html.write(REPORT)
    assert len(page.encode()) < 2_000_000
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page) == []
    assert "<script" not in page
    assert "Analysis &lt;1&gt;" in page
    assert "prefers-color-scheme:dark" in page


def test_a_page_marks_rows_and_tones() -> None:
    page = html.write(REPORT)
    assert '<p class="bad">A &amp; B</p>' in page
    assert re.search(r'<tr class="mark"><td>a\|b</td><td class="n">∞</td>', page)


def test_a_pdf_has_pages() -> None:
    assert pdf.write(REPORT)[:5] == b"%PDF-"


def test_a_notebook_is_one() -> None:
    book = json.loads(notebook.write(REPORT))
    assert (book["nbformat"], [cell["cell_type"] for cell in book["cells"]]) == (4, ["markdown"] * 4 + ["code"])
    assert "| a\\|b | ∞ |" in "".join(book["cells"][3]["source"])
    assert set(book["cells"][4]["outputs"][0]["data"]) == {"application/vnd.vegalite.v6+json", "image/png", "text/plain"}


@pytest.mark.parametrize("module", [document, html, notebook, pdf])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_paper_has_letters_that_helvetica_lacks() -> None:
    plain, strange = (pdf.write(Report("R", [Text(text)])) for text in ("Zürich", "東京, Москва"))
    assert b"HeiseiKakuGo-W5" not in plain
    assert b"HeiseiKakuGo-W5" in strange

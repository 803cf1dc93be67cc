"""`python -m dewfall.images.model_card`: a model card's content as PDF, its evaluation metrics as tables and charts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from dewfall.images import contract
from dewfall.ml.plots import look
from dewfall.ml.reports import pdf
from dewfall.ml.reports.document import Block, Chart, Heading, Report, Table, Text

SECTIONS = (
    "model_overview",
    "model_package_details",
    "intended_uses",
    "business_details",
    "training_details",
    "evaluation_details",
    "additional_information",
)
FILE = "model_card.pdf"


def main() -> int:
    """Draw the card that lies in the configuration folder."""
    card = contract.read_config("card.json")
    folder = contract.folders().output / "card"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(pdf.write(document(card)))
    return 0


def document(card: dict[str, Any]) -> Report:
    """A card as a report.

    >>> document({"ModelCardName": "c", "ModelCardVersion": 1, "ModelCardStatus": "Draft", "Content": {}}).title
    'c'
    """
    subtitle = f"Version {card['ModelCardVersion']}, {card['ModelCardStatus']}, {card.get('LastModifiedTime', '')[:10]}"
    blocks: list[Block] = []
    for name in SECTIONS:
        section = card["Content"].get(name)
        if section:
            blocks.append(Heading(titled(name)))
            blocks += _evaluations(section) if name == "evaluation_details" else list(_section(section))
    return Report(str(card["ModelCardName"]), blocks, subtitle)


def titled(name: str) -> str:
    """`model_overview` as people write it: Model overview."""
    return name.replace("_", " ").capitalize()


def _section(section: Any, depth: int = 2) -> Iterator[Block]:
    """Plain members in one table, members with members below headings of their own."""
    if not isinstance(section, dict):
        yield Text(str(section))
        return
    plain = [[titled(name), _cell(value)] for name, value in section.items() if not _is_deep(value)]
    if plain:
        yield Table(["", ""], plain)
    for name, value in section.items():
        if _is_deep(value):
            yield Heading(titled(name), depth)
            yield from _listed(value) if isinstance(value, list) else _section(value, depth + 1)


def _listed(entries: list[dict[str, Any]]) -> Iterator[Block]:
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    yield Table([titled(name) for name in names], [[_cell(entry.get(name)) for name in names] for entry in entries])


def _evaluations(evaluations: list[dict[str, Any]]) -> list[Block]:
    blocks: list[Block] = []
    for evaluation in evaluations:
        blocks.append(Heading(str(evaluation["name"]), 2))
        blocks += list(_section({name: value for name, value in evaluation.items() if name not in ("name", "metric_groups")}, 3))
        for group in evaluation.get("metric_groups", ()):
            blocks.append(Heading(str(group["name"]), 3))
            plain = [metric for metric in group["metric_data"] if metric["type"] in ("number", "string", "boolean")]
            if plain:
                blocks.append(Table(["metric", "value", "notes"], [[m["name"], m["value"], m.get("notes", "")] for m in plain]))
            blocks += [_chart(metric) for metric in group["metric_data"] if metric not in plain]
    return blocks


def _chart(metric: dict[str, Any]) -> Block:
    """A graph, bars or matrix of a metric; what is malformed is written out instead."""
    try:
        return Chart(DRAWN[metric["type"]](metric), str(metric.get("notes", "")))
    except (KeyError, TypeError, ValueError, IndexError):
        return Text(f"{metric['name']}: {_cell(metric['value']) or '–'}")


def _graph(metric: dict[str, Any]) -> look.Spec:
    series = metric["value"] if isinstance(metric["value"][0][0], list) else [metric["value"]]
    names = metric.get("y_axis_name")
    labels = names if isinstance(names, list) else [str(names or metric["name"])]
    rows = [(x, y, labels[min(i, len(labels) - 1)]) for i, points in enumerate(series) for x, y in points]
    data = look.rows(x=[float(x) for x, _, _ in rows], y=[float(y) for _, y, _ in rows], name=[name for _, _, name in rows])
    color = {"field": "name", "type": "nominal", "title": None, "scale": look.colors(list(dict.fromkeys(name for _, _, name in rows)))}
    color |= {"legend": None} if len(series) == 1 else {}
    encoding = {"x": look.quantitative("x", str(metric.get("x_axis_name") or "")), "y": look.quantitative("y", labels[0]), "color": color}
    return look.chart(str(metric["name"]), {"data": data, "mark": {"type": "line", "point": len(rows) < 60}, "encoding": encoding})


def _bars(metric: dict[str, Any]) -> look.Spec:
    names = [str(name) for name in metric.get("x_axis_name") or range(len(metric["value"]))]
    data = look.rows(name=names, value=[float(value) for value in metric["value"]])
    x = {"field": "name", "type": "nominal", "sort": None, "title": None}
    encoding = {"x": x, "y": look.quantitative("value", str(metric.get("y_axis_name") or metric["name"]), zero=True)}
    return look.chart(str(metric["name"]), {"data": data, "mark": {"type": "bar", "color": look.BLUE}, "encoding": encoding})


def _matrix(metric: dict[str, Any]) -> look.Spec:
    table = metric["value"]
    across = [str(name) for name in metric.get("x_axis_name") or range(len(table[0]))]
    up = [str(name) for name in metric.get("y_axis_name") or range(len(table))]
    cells = [(across[j], up[i], float(value)) for i, row in enumerate(table) for j, value in enumerate(row)]
    data = look.rows(x=[x for x, _, _ in cells], y=[y for _, y, _ in cells], value=[value for _, _, value in cells])
    x, y = ({"field": field, "type": "nominal", "sort": None, "title": None} for field in ("x", "y"))
    color = {"field": "value", "type": "quantitative", "title": str(metric["name"]), "scale": {"range": list(look.SEQUENTIAL)}}
    return look.chart(str(metric["name"]), {"data": data, "mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": color}})


DRAWN = {"linear_graph": _graph, "bar_chart": _bars, "matrix": _matrix}


def _is_deep(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())

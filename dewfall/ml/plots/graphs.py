"""A graph of things that came out of one another, drawn in columns from left to right: lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

STEP = 74  # pixels between rows
COLUMN = 210
SMALL = {"type": "text", "dy": 19, "fontSize": 9, "color": look.SOFT_INK}


def lineage(vertices: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], title: str = "Lineage") -> Spec:
    """QueryLineage's answer as a picture: sources left, what came of them right.

    vertices: [{"Arn", "Type", "LineageType"}]. edges: [{"SourceArn", "DestinationArn", "AssociationType"}]; ends that are no vertex are
    drawn too. Raises ValueError (vertices) without any.

    >>> lineage([{"Arn": "arn:a:artifact/1", "Type": "DataSet", "LineageType": "Artifact"}], [])["title"]["text"]
    'Lineage'
    """
    known = {str(vertex["Arn"]): vertex for vertex in vertices}
    for edge in edges:
        for member in ("SourceArn", "DestinationArn"):
            known.setdefault(str(edge[member]), {"Arn": edge[member], "Type": "", "LineageType": _kind(str(edge[member]))})
    if not known:
        raise ValueError("vertices: there is nothing to draw")
    column = _columns(list(known), edges)
    rows: dict[str, int] = {}
    for place in sorted(set(column.values())):
        for row, arn in enumerate(arn for arn in known if column[arn] == place):
            rows[arn] = row
    dots = look.rows(
        x=[column[arn] for arn in known],
        y=[-rows[arn] for arn in known],
        kind=[str(vertex["LineageType"]) for vertex in known.values()],
        label=[str(vertex["Type"] or vertex["LineageType"]) for vertex in known.values()],
        name=[arn.rpartition("/")[2][:26] for arn in known],
    )
    ends = [(str(edge["SourceArn"]), str(edge["DestinationArn"])) for edge in edges]
    lines = look.rows(x=[column[a] for a, _ in ends], y=[-rows[a] for a, _ in ends], x2=[column[b] for _, b in ends], y2=[-rows[b] for _, b in ends])
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [-0.4, max(column.values()) + 0.6]}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [-max(rows.values()) - 0.7, 0.7]}}
    color = {"field": "kind", "type": "nominal", "title": None, "scale": look.colors(["Artifact", "TrialComponent", "Action", "Context"])}
    layers = [
        {"data": lines, "mark": {"type": "rule", "color": look.SOFT_INK}, "encoding": {"x": x, "y": y, "x2": {"field": "x2"}, "y2": {"field": "y2"}}},
        {"data": dots, "mark": {"type": "circle", "size": 180, "opacity": 1}, "encoding": {"x": x, "y": y, "color": color}},
        {"data": dots, "mark": {"type": "text", "dy": -18, "fontSize": 11}, "encoding": {"x": x, "y": y, "text": {"field": "label"}}},
        {
            "data": dots,
            "mark": {"type": "text", "dy": 19, "fontSize": 9, "color": look.SOFT_INK},
            "encoding": {"x": x, "y": y, "text": {"field": "name"}},
        },
    ]
    size = COLUMN * (max(column.values()) + 1), STEP * (max(rows.values()) + 1)
    return look.chart(title, *layers, width=size[0], height=size[1])


def _columns(arns: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The length of the longest way to each; a circle ends after as many steps as there are things."""
    column = dict.fromkeys(arns, 0)
    for _ in arns:
        changed = False
        for edge in edges:
            source, destination = str(edge["SourceArn"]), str(edge["DestinationArn"])
            if column[destination] <= column[source] < len(arns):
                column[destination] = column[source] + 1
                changed = True
        if not changed:
            break
    return column


def _kind(arn: str) -> str:
    kinds = {"artifact": "Artifact", "action": "Action", "context": "Context"}
    return kinds.get(arn.rpartition(":")[2].partition("/")[0], "TrialComponent")

"""Clarify's bias metrics from one table of counts: facet × label × prediction × group.

Every metric but the flip test is a function of these counts, so a million rows are read once and the rest costs nothing; bootstrap
intervals only draw new tables. Formulas, quirks and error texts are smclarify 0.5's, so that reports compare line by line.

    rows ── tabulate ──► cells (2, 2, 2, G + 1) ── measure ──► {metric: value | error}
                                                └─ intervals ► {metric: (low, high)}

Axis 0 of cells is the facet (0 the rest "a", 1 the sensitive facet "d"), 1 the label, 2 the prediction (0 negative, 1 positive), 3 the
group variable, whose last place holds rows without a group.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
Guards = tuple[tuple[str, Callable[["Counts"], Mask]], ...]
NO_COMMON = "No instance of common facet found, dataset may be too small"
ALL_FALSE_NEGATIVE = "All predicted labels are false negatives. There should be at least one prediction that is not false negative."
A, D = 0, 1


@dataclass(frozen=True, slots=True)
class Counts:
    """cells (..., 2, 2, 2, G + 1), see the module's picture; leading axes are many tables at once."""

    cells: Numbers

    def by(self, name: str) -> tuple[Numbers, Numbers]:
        """(a, d) of one count: n, pos, neg, hat (predicted positive), nothat, TP, FP, FN, TN."""
        table = self.cells.sum(axis=-1)
        label, prediction = PLACES[name]
        picked = table[..., :, label, :].sum(axis=-2) if isinstance(label, slice) else table[..., :, label, :]
        found = picked[..., prediction].sum(axis=-1) if isinstance(prediction, slice) else picked[..., prediction]
        return found[..., A], found[..., D]


ALL = slice(None)
PLACES: dict[str, tuple[int | slice, int | slice]] = {
    "n": (ALL, ALL),
    "pos": (1, ALL),
    "neg": (0, ALL),
    "hat": (ALL, 1),
    "nothat": (ALL, 0),
    "TP": (1, 1),
    "FP": (0, 1),
    "FN": (1, 0),
    "TN": (0, 0),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """description: Clarify's text. value: counts → number. guards: (error text, counts → whether it applies), the first one wins."""

    description: str
    value: Callable[[Counts], Numbers]
    guards: Guards = ()


def tabulate(facet: Any, label: Any, predicted: Any = None, groups: Any = None) -> Counts:
    """Count rows into one table.

    facet, label, predicted: masks (n,) of rows in the sensitive facet, with a positive label, predicted positive (left out: negative).
    groups: integer codes (n,), -1 where missing. Raises ValueError (naming the argument) when lengths differ or there are no rows.

    >>> tabulate([True, False], [True, True]).cells[..., 0].sum(axis=2).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    return Counts(tabulate_values(np.asarray(facet, dtype=bool).astype(np.int64), label, predicted, groups, values=2)[:2])


def tabulate_values(codes: NDArray[np.int64], label: Any, predicted: Any = None, groups: Any = None, *, values: int) -> Numbers:
    """The table for all facet values at once: (values + 1, 2, 2, G + 1), the last place of axis 0 holding rows without a facet value.

    codes: (n,) from facets.encode, -1 where missing; the rest as in `tabulate`. Turn one value's share into Counts by `one_against_rest`.

    >>> tabulate_values(np.array([0, 1, -1]), [True, True, False], values=2).sum(axis=(1, 2, 3)).tolist()
    [1.0, 1.0, 1.0]
    """
    rows = len(codes)
    if rows == 0:
        raise ValueError("facet: there are no rows")
    count = 1 if groups is None else int(np.max(groups)) + 2
    place = np.where(codes < 0, values, codes) if (codes < 0).any() else codes
    place = place * 2 + _flags(label, rows, "label")
    place *= 2
    if predicted is not None:
        place += _flags(predicted, rows, "predicted")
    if groups is not None:
        given = np.asarray(groups)
        if len(given) != rows:
            raise ValueError(f"groups: expected {rows} rows, got {len(given)}")
        place *= count
        place += np.where(given < 0, count - 1, given)
    cells = np.bincount(place, minlength=(values + 1) * 4 * count).astype(np.float64)
    return cells.reshape(values + 1, 2, 2, count)


def _flags(values: Any, rows: int, name: str) -> Mask:
    flags = np.asarray(values)
    if flags.dtype != bool:
        raise ValueError(f"{name}: expected yes or no for every row, got {flags.dtype}")
    if len(flags) != rows:
        raise ValueError(f"{name}: expected {rows} rows, got {len(flags)}")
    return flags


def one_against_rest(table: Numbers, value: int) -> Counts:
    """Counts of one facet value (d) against all other rows (a), from `tabulate_values`.

    >>> one_against_rest(np.ones((3, 2, 2, 1)), 0).by("n")
    (array(8.), array(4.))
    """
    return Counts(np.stack([table.sum(axis=0) - table[value], table[value]]))


def measure(counts: Counts, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Metrics of one table as Clarify's report lists them, sorted by name: {"name", "description", "value"} and "error" where value is None.

    names: which (default all of METRICS). Infinite values stay floats. Raises ValueError for an unknown name.

    >>> counts = tabulate([True, True, False, False], [True, False, True, True])
    >>> measure(counts, ["CI", "DPL"])[1]
    {'name': 'DPL', 'description': 'Difference in Positive Proportions in Labels (DPL)', 'value': 0.5}
    """
    return [_measured(counts, name) for name in sorted(_known(names))]


def _known(names: Iterable[str] | None) -> list[str]:
    wanted = list(METRICS if names is None else names)
    for name in wanted:
        if name not in METRICS:
            raise ValueError(f"Invalid metric_name: metrics should be one of the registered metrics{list(METRICS)}")
    return wanted


def _measured(counts: Counts, name: str) -> dict[str, Any]:
    metric = METRICS[name]
    for text, applies in metric.guards:
        if bool(applies(counts)):
            return {"name": name, "description": metric.description, "value": None, "error": text}
    return {"name": name, "description": metric.description, "value": float(metric.value(counts))}


def intervals(
    counts: Counts, names: Iterable[str] | None = None, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """Bootstrap percentile intervals: tables drawn from the multinomial distribution that the counts define, at a cost free of n.

    level: between 0 and 1. draws: tables drawn. A metric that is undefined or infinite in more than half of the draws has None.
    Raises ValueError for a level or a number of draws out of range.

    >>> low, high = intervals(tabulate([True, False] * 50, [True, True, False, True] * 25), ["DPL"])["DPL"]
    >>> bool(low < 0.5 < high)
    True
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1")
    if draws < 1:
        raise ValueError("draws: at least one is needed")
    flat = counts.cells.ravel()
    rows = int(flat.sum())
    drawn = np.random.default_rng(seed).multinomial(rows, flat / rows, size=draws).reshape(draws, *counts.cells.shape)
    tables = Counts(drawn.astype(np.float64))
    return {name: _interval(tables, METRICS[name], level) for name in sorted(_known(names))}


def _interval(tables: Counts, metric: Metric, level: float) -> tuple[float, float] | None:
    values = np.array(metric.value(tables), dtype=np.float64)
    for _, applies in metric.guards:
        values[applies(tables)] = np.nan
    held = values[np.isfinite(values)]
    if len(held) * 2 < len(values):
        return None
    low, high = np.quantile(held, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def performance(counts: Counts) -> dict[str, float]:
    """The model's performance over all rows as Clarify names it; 0/0 is 0, x/0 is infinite.

    >>> performance(tabulate([True, False], [True, False], [True, True]))["Accuracy"]
    0.5
    """
    tp, fp, fn, tn = (float(np.add(*counts.by(name))) for name in ("TP", "FP", "FN", "TN"))
    rows = tp + fp + fn + tn
    precision, recall = _ratio(tp, tp + fp), _ratio(tp, tp + fn)
    values = {
        "Accuracy": _ratio(tp + tn, rows),
        "Proportion of Positive Predictions in Labels": _ratio(tp + fp, rows),
        "Proportion of Negative Predictions in Labels": _ratio(tn + fn, rows),
        "True Positive Rate / Recall": recall,
        "True Negative Rate / Specificity": _ratio(tn, tn + fp),
        "Acceptance Rate / Precision": precision,
        "Rejection Rate": _ratio(tn, tn + fn),
        "Conditional Acceptance": _ratio(tp + fn, tp + fp),
        "Conditional Rejection": _ratio(tn + fp, tn + fn),
        "F1 Score": 2 * _ratio(precision * recall, precision + recall),
    }
    return {name: float(value) for name, value in values.items()}


def _ratio(over: Any, under: Any) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.divide(over, under)
    return np.where((np.asarray(over) == 0) & (np.asarray(under) == 0), 0.0, found)


def _gap(one: Numbers, other: Numbers) -> Numbers:
    """one - other, where two equal infinities differ by nothing."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, one - other)


def _rates(over: str, under: str) -> Callable[[Counts], tuple[Numbers, Numbers]]:
    """(a, d) of over / under; "TP+TN" adds two counts."""

    def rates(counts: Counts) -> tuple[Numbers, Numbers]:
        tops = [counts.by(part) for part in over.split("+")]
        below = counts.by(under)
        return _ratio(sum(top[A] for top in tops), below[A]), _ratio(sum(top[D] for top in tops), below[D])

    return rates


def _a_minus_d(over: str, under: str) -> Callable[[Counts], Numbers]:
    rates = _rates(over, under)
    return lambda counts: _gap(*rates(counts))


def _d_minus_a(over: str, under: str) -> Callable[[Counts], Numbers]:
    rates = _rates(over, under)
    return lambda counts: -_gap(*rates(counts)) + 0.0


def _imbalance(counts: Counts) -> Numbers:
    a, d = counts.by("n")
    return _ratio(a - d, a + d)


def _impact(counts: Counts) -> Numbers:
    a, d = _rates("hat", "n")(counts)
    return _ratio(d, a)


def _shares(counts: Counts) -> tuple[Numbers, Numbers, Mask]:
    """(Pa, Pd, kept), each (..., 2) over negative and positive; only label values that both facets have are kept (a quirk of smclarify)."""
    a, d = (np.stack([_ratio(counts.by(name)[side], counts.by("n")[side]) for name in ("neg", "pos")], axis=-1) for side in (A, D))
    kept = (a > 0) & (d > 0)
    return a, d, kept


def _divergence(counts: Counts) -> Numbers:
    a, d, kept = _shares(counts)
    return _relative(a, d, kept)


def _relative(one: Numbers, other: Numbers, kept: Mask) -> Numbers:
    safe, below = np.where(kept, one, 1.0), np.where(kept, other, 1.0)
    return np.asarray((np.where(kept, one, 0.0) * np.log(safe / below)).sum(axis=-1))


def _jensen_shannon(counts: Counts) -> Numbers:
    a, d, kept = _shares(counts)
    middle = (a + d) / 2
    return 0.5 * (_relative(a, middle, kept) + _relative(d, middle, kept))


def _norm(order: float, factor: float = 1.0) -> Callable[[Counts], Numbers]:
    def norm(counts: Counts) -> Numbers:
        a, d, kept = _shares(counts)
        return factor * np.asarray(np.linalg.norm(np.where(kept, a - d, 0.0), ord=order, axis=-1))

    return norm


def _disparity(axis: int) -> Callable[[Counts], Numbers]:
    """Conditional demographic disparity over labels (axis 1) or predictions (axis 2) of the table."""

    def disparity(counts: Counts) -> Numbers:
        table = counts.cells[..., :-1].sum(axis=-2 if axis == 1 else -3)
        both = table.sum(axis=-3)
        accepted, rejected = _ratio(table[..., D, 1, :], both[..., 1, :]), _ratio(table[..., D, 0, :], both[..., 0, :])
        size = both.sum(axis=-2)
        return _ratio((size * (rejected - accepted)).sum(axis=-1), size.sum(axis=-1))

    return disparity


def _entropy(counts: Counts) -> Numbers:
    """Generalized entropy with alpha 2; the benefit of a row is 0 (FN), 1 (right) or 2 (FP)."""
    rows = np.add(*counts.by("n"))
    wrong, generous = np.add(*counts.by("FN")), np.add(*counts.by("FP"))
    mean = (rows - wrong + generous) / rows
    return np.asarray((_ratio(rows - wrong + 3 * generous, mean**2) - rows) / (2 * rows))


def _empty(side: int) -> Callable[[Counts], Mask]:
    return lambda counts: np.asarray(counts.by("n")[side] == 0)


def _none(name: str) -> Callable[[Counts], Mask]:
    return lambda counts: np.asarray(np.add(*counts.by(name)) == 0)


def _guards(d: str, a: str, *, a_first: bool = False) -> Guards:
    pair = ((d, _empty(D)), (a, _empty(A)))
    return pair[::-1] if a_first else pair


def _group_guards(positive: str, negative: str) -> Guards:
    return (
        ("Group variable is empty or not provided", lambda counts: np.full(counts.cells.shape[:-4], counts.cells.shape[-1] == 1)),
        ("No positive labels in set", _none(positive)),
        ("No negative labels in set", _none(negative)),
    )


IMBALANCE = _guards(
    "CI: facet set is empty. Check that x[facet] has non-zero length.",
    "CI: negated facet set is empty. Check that x[~facet] has non-zero length.",
    a_first=True,
)
PROPORTIONS = _guards("Facet set is empty.", "Negative facet set is empty.", a_first=True)
IMPACT = _guards("Facet set is empty", "Negated facet set is empty", a_first=True)
OUTCOMES = _guards("DCO: Facet set is empty", "DCO: Negated Facet set is empty")
RATES = _guards("DLR: Facet set is empty", "DLR: Negated Facet set is empty")
ACCURACY = _guards("DLA: Facet set is empty", "DLA: Negated Facet set is empty")
PLAIN = _guards("Facet set is empty", "Negated Facet set is empty")
COMMON: Guards = ((NO_COMMON, lambda counts: np.asarray(~_shares(counts)[2].any(axis=-1))),)

PRE_TRAINING: dict[str, Metric] = {
    "CDDL": Metric("Conditional Demographic Disparity in Labels (CDDL)", _disparity(1), _group_guards("pos", "neg")),
    "CI": Metric("Class Imbalance (CI)", _imbalance, IMBALANCE),
    "DPL": Metric("Difference in Positive Proportions in Labels (DPL)", _a_minus_d("pos", "n"), PROPORTIONS),
    "JS": Metric("Jensen-Shannon Divergence (JS)", _jensen_shannon, COMMON),
    "KL": Metric("Kullback-Liebler Divergence (KL)", _divergence, COMMON),
    "KS": Metric("Kolmogorov-Smirnov Distance (KS)", _norm(np.inf), COMMON),
    "LP": Metric("L-p Norm (LP)", _norm(2), COMMON),
    "TVD": Metric("Total Variation Distance (TVD)", _norm(1, 0.5), COMMON),
}
POST_TRAINING: dict[str, Metric] = {
    "AD": Metric("Accuracy Difference (AD)", _a_minus_d("TP+TN", "n"), PLAIN),
    "CDDPL": Metric("Conditional Demographic Disparity in Predicted Labels (CDDPL)", _disparity(2), _group_guards("hat", "nothat")),
    "DAR": Metric("Difference in Acceptance Rates (DAR)", _a_minus_d("TP", "hat"), RATES),
    "DCA": Metric("Difference in Conditional Acceptance (DCA)", _a_minus_d("pos", "hat"), OUTCOMES),
    "DCR": Metric("Difference in Conditional Rejection (DCR)", _d_minus_a("neg", "nothat"), OUTCOMES),
    "DI": Metric("Disparate Impact (DI)", _impact, IMPACT),
    "DPPL": Metric("Difference in Positive Proportions in Predicted Labels (DPPL)", _a_minus_d("hat", "n"), PROPORTIONS),
    "DRR": Metric("Difference in Rejection Rates (DRR)", _d_minus_a("TN", "nothat"), RATES),
    "GE": Metric(
        "Generalized Entropy (GE)",
        _entropy,
        ((ALL_FALSE_NEGATIVE, lambda counts: np.asarray(np.add(*counts.by("FN")) == np.add(*counts.by("n")))),),
    ),
    "RD": Metric("Recall Difference (RD)", _a_minus_d("TP", "pos"), ACCURACY),
    "SD": Metric("Specificity Difference (SD)", _d_minus_a("TN", "neg"), ACCURACY),
    "TE": Metric("Treatment Equality (TE)", _d_minus_a("FN", "FP"), PLAIN),
}
METRICS = PRE_TRAINING | POST_TRAINING

"""Fitted tree ensembles of XGBoost, LightGBM and scikit-learn, read into plain nodes and leaves.

Why nodes of our own: every exact explanation walks them, and the three libraries keep them in three ways.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Leaf:
    """value (k,) where low < x <= high for every feature of the path; `missing` tells which of them also let NaN pass."""

    value: Numbers
    features: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    missing: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One split, or a leaf when value (k,) is given: rows with x <= cut go left, NaN as told. cover: how much of the training data came by."""

    feature: int = -1
    cut: float = 0.0
    nan_left: bool = False
    left: int = -1
    right: int = -1
    value: Numbers | None = None
    cover: float = 0.0


@dataclass(frozen=True)
class Trees:
    """The trees' nodes, root first, and the model they came from. single: the model compares in single precision."""

    nodes: list[list[Node]]
    outputs: int
    single: bool
    model: Any


def read_trees(model: Any) -> Trees:
    """The nodes of a fitted ensemble. Raises ValueError (model) as tree_shap.

    >>> from sklearn.tree import DecisionTreeRegressor
    >>> [len(nodes) for nodes in read_trees(DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 6.0])).nodes]
    [3]
    """
    library = type(model).__module__.split(".")[0]
    if library == "xgboost":
        return _xgboost(model.get_booster() if hasattr(model, "get_booster") else model)
    if library == "lightgbm":
        return _lightgbm(model.booster_ if hasattr(model, "booster_") else model)
    if library == "sklearn":
        return _sklearn(model)
    raise ValueError(f"model: {type(model).__name__} is no tree model of XGBoost, LightGBM or scikit-learn")


def _xgboost(booster: Any) -> Trees:
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    if learner["gradient_booster"]["name"] != "gbtree":
        raise ValueError(f"model: booster {learner['gradient_booster']['name']} is not gbtree")
    held = learner["gradient_booster"]["model"]
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    trees: list[list[Node]] = []
    for tree, output in zip(held["trees"], held["tree_info"], strict=True):
        if any(tree.get("split_type", [])) or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise ValueError("model: categorical splits and vector leaves are not supported")
        unit = np.eye(outputs)[output]
        cuts = np.asarray(tree["split_conditions"], dtype=np.float32)
        below = np.nextafter(cuts, np.float32(-np.inf)).astype(np.float64)
        nodes = [
            Node(value=unit * float(cuts[i]), cover=cover) if left < 0 else Node(feature, float(below[i]), bool(nan), left, right, cover=cover)
            for i, (left, right, feature, nan, cover) in enumerate(
                zip(tree["left_children"], tree["right_children"], tree["split_indices"], tree["default_left"], tree["sum_hessian"], strict=True)
            )
        ]
        trees.append(nodes)
    return Trees(trees, outputs, True, booster)


def _lightgbm(booster: Any) -> Trees:
    dump = booster.dump_model()
    outputs = int(dump["num_tree_per_iteration"])
    scale = len(dump["tree_info"]) / outputs if dump.get("average_output") else 1.0
    trees: list[list[Node]] = []
    for place, tree in enumerate(dump["tree_info"]):
        nodes: list[Node] = []
        _lightgbm_nodes(tree["tree_structure"], nodes, np.eye(outputs)[place % outputs] / scale)
        trees.append(nodes)
    return Trees(trees, outputs, False, booster)


def _lightgbm_nodes(held: dict[str, Any], nodes: list[Node], unit: Numbers) -> int:
    place = len(nodes)
    if "split_feature" not in held:
        nodes.append(Node(value=unit * float(held["leaf_value"]), cover=float(held.get("leaf_count", 0))))
        return place
    if held["decision_type"] != "<=" or held["missing_type"] == "Zero":
        raise ValueError("model: categorical splits and zero as missing are not supported")
    cut = float(held["threshold"])
    nan_left = bool(held["default_left"]) if held["missing_type"] == "NaN" else cut >= 0
    nodes.append(Node())
    left = _lightgbm_nodes(held["left_child"], nodes, unit)
    right = _lightgbm_nodes(held["right_child"], nodes, unit)
    nodes[place] = Node(int(held["split_feature"]), cut, nan_left, left, right, cover=float(held["internal_count"]))
    return place


def _sklearn(model: Any) -> Trees:
    parts: list[tuple[Any, int | None, float]]
    if hasattr(model, "tree_"):
        parts = [(model, None, 1.0)]
    elif hasattr(model, "learning_rate") and hasattr(model, "estimators_") and isinstance(model.estimators_, np.ndarray):
        parts = [(tree, output, float(model.learning_rate)) for row in model.estimators_ for output, tree in enumerate(row)]
    elif hasattr(model, "estimators_") and all(hasattr(tree, "tree_") for tree in model.estimators_) and not hasattr(model, "estimator_weights_"):
        parts = [(tree, None, 1 / len(model.estimators_)) for tree in model.estimators_]
    else:
        raise ValueError(f"model: {type(model).__name__} is no supported (or no fitted) tree model of scikit-learn")
    trees: list[list[Node]] = []
    outputs = 1
    for tree, output, scale in parts:
        found, outputs = _sklearn_nodes(tree, output, scale, parts[-1][1])
        trees.append(found)
    return Trees(trees, outputs, True, model)


def _sklearn_nodes(tree: Any, output: int | None, scale: float, last: int | None) -> tuple[list[Node], int]:
    held = tree.tree_
    if held.value.shape[1] > 1:
        raise ValueError("model: several targets are not supported")
    values = held.value[:, 0, :]
    if hasattr(tree, "classes_"):
        values = values / values.sum(axis=1, keepdims=True)
    if output is not None and last is not None:
        values = values[:, :1] * np.eye(last + 1)[output]
    values = values * scale
    cover = held.weighted_n_node_samples
    nan_left = getattr(held, "missing_go_to_left", np.zeros(held.node_count))
    nodes = [
        Node(value=values[i], cover=float(cover[i]))
        if held.children_left[i] < 0
        else Node(
            int(held.feature[i]),
            float(held.threshold[i]),
            bool(nan_left[i]),
            int(held.children_left[i]),
            int(held.children_right[i]),
            cover=float(cover[i]),
        )
        for i in range(held.node_count)
    ]
    return nodes, int(values.shape[1])


def leaves_of(nodes: list[Node]) -> list[Leaf]:
    """A tree's leaves: a walk from the root, narrowing each feature's interval."""
    found: list[Leaf] = []
    waiting: list[tuple[int, dict[int, tuple[float, float, bool]]]] = [(0, {})]
    while waiting:
        place, path = waiting.pop()
        node = nodes[place]
        if node.value is not None:
            low, high, missing = zip(*path.values(), strict=True) if path else ((), (), ())
            found.append(Leaf(node.value, tuple(path), low, high, missing))
            continue
        low_, high_, nan = path.get(node.feature, (-math.inf, math.inf, True))
        waiting.append((node.left, path | {node.feature: (low_, min(high_, node.cut), nan and node.nan_left)}))
        waiting.append((node.right, path | {node.feature: (max(low_, node.cut), high_, nan and not node.nan_left)}))
    return found

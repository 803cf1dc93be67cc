"""The compiled kernels of TreeSHAP, path-dependent and interventional. Needs numba (the extra `fast`); pathshap.py imports it where it is used.

A leaf of value v with m features on its path, r_i of whose training rows stay on it at feature i and o_i = 1 where the row at hand does, gives
feature j  v (o_j - r_j) ∫₀¹ Π_{i≠j} (o_i t + r_i (1 - t)) dt:  Shapley's weights are that integral's coefficients, and all terms are positive, so
nothing cancels. Gauss and Legendre's rule with ⌈m/2⌉ points is exact. What a leaf gives depends on the row only through the m bits o, so
where there are enough rows it is computed once for all 2^m of them and looked up. Against a baseline, what treeshap.py says of p and q is counted.
"""

import numba
import numpy as np

BLOCK = 512  # rows whose columns stay in the processor's cache


def decide(data, begin, count, feature, cut, nan_left, start, splits, words):  # type: ignore[no-untyped-def]
    """words[node // 64, row] has the bit of each of the tree's splits: whether the row goes left. data is (d, n)."""
    words[:, :count] = 0
    for k in range(splits):
        column, bound, is_left = data[feature[start + k]], cut[start + k], nan_left[start + k]
        held, shift = words[k >> 6], np.uint64(k & 63)
        for row in range(count):
            x = column[begin + row]
            held[row] |= np.uint64((x <= bound) | (is_left & (x != x))) << shift


def shares(bits, ratio, first, m, value, points, weights, found, before):  # type: ignore[no-untyped-def]
    """What a leaf gives each of its m features, into found[:m]."""
    for j in range(m):
        found[j] = 0.0
    for q in range((m + 1) // 2):
        t = points[m, q]
        product = 1.0
        for i in range(m):
            before[i] = product
            product *= ratio[first + i] * (1.0 - t) + (t if (bits >> i) & 1 else 0.0)
        product = weights[m, q]
        for i in range(m - 1, -1, -1):
            found[i] += before[i] * product
            product *= ratio[first + i] * (1.0 - t) + (t if (bits >> i) & 1 else 0.0)
    for j in range(m):
        o = 1.0 if (bits >> j) & 1 else 0.0
        found[j] *= value * (o - ratio[first + j])


def stays(words, count, first, last, test_slot, test_word, test_mask, test_want, leaves, bits):  # type: ignore[no-untyped-def]
    """bits[row] has bit i where the row stays on the path at its i-th feature. A feature with tests in several words stays where all agree."""
    bits[:count] = 0
    for k in range(first, last):
        held, mask, want, shift = words[test_word[k]], test_mask[k], test_want[k], np.uint64(test_slot[k])
        for row in range(count):
            leaves[row] = np.uint64(((held[row] ^ want) & mask) != np.uint64(0)) << shift
        for row in range(count):
            bits[row] |= leaves[row]
    for row in range(count):
        bits[row] = ~bits[row]


_decide = numba.njit(nogil=True, cache=True)(decide)
_shares = numba.njit(nogil=True, cache=True, error_model="numpy")(shares)
_stays = numba.njit(nogil=True, cache=True)(stays)


def tables(first, last, values, leaf_slot, ratio, points, weights, rows, most):  # type: ignore[no-untyped-def]
    """What each leaf of a tree gives for all answers of its tests, where the rows are enough to make that worth it: places (-1: no), numbers."""
    places = np.full(last - first, -1, np.int64)
    size = 0
    for leaf in range(first, last):
        m = leaf_slot[leaf + 1] - leaf_slot[leaf]
        if values[leaf] != 0.0 and m <= 20 and (1 << m) * 4 <= rows and size + (1 << m) * m <= most:
            places[leaf - first] = size
            size += (1 << m) * m
    table, found, before = np.empty(size), np.empty(64), np.empty(64)
    for leaf in range(first, last):
        place, slot = places[leaf - first], leaf_slot[leaf]
        m = leaf_slot[leaf + 1] - slot
        if place >= 0:
            for bits in range(1 << m):
                _shares(bits, ratio, slot, m, values[leaf], points, weights, found, before)
                for j in range(m):
                    table[place + (j << m) + bits] = found[j]
    return places, table


_tables = numba.njit(nogil=True, cache=True)(tables)


def explain(  # type: ignore[no-untyped-def]
    data, splits, feature, cut, nan_left, tree_leaf, values, leaf_slot, slot_feature, ratio, leaf_test, test_slot, test_word, test_mask,
    test_want, points, weights, most, out,
):  # fmt: skip
    """Add every tree's shares to out (d, n); data is (d, n). See pathshap.Flat for the arrays; most: numbers of a tree's tables."""
    n = data.shape[1]
    found, before = np.empty(64), np.empty(64)
    leaves, bits = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    for tree in range(len(tree_leaf) - 1):
        start, count = splits[tree], splits[tree + 1] - splits[tree]
        first, last = tree_leaf[tree], tree_leaf[tree + 1]
        if count == 0 or not np.any(values[first:last]):
            continue
        places, table = _tables(first, last, values, leaf_slot, ratio, points, weights, n, most)
        words = np.empty(((count + 63) // 64, BLOCK), np.uint64)
        for begin in range(0, n, BLOCK):
            rows = min(n - begin, BLOCK)
            _decide(data, begin, rows, feature, cut, nan_left, start, count, words)
            for leaf in range(first, last):
                if values[leaf] == 0.0:
                    continue
                _stays(words, rows, leaf_test[leaf], leaf_test[leaf + 1], test_slot, test_word, test_mask, test_want, leaves, bits)
                place, slot = places[leaf - first], leaf_slot[leaf]
                m = leaf_slot[leaf + 1] - slot
                known = (np.uint64(1) << np.uint64(m)) - np.uint64(1)
                if place >= 0:
                    for j in range(m):
                        column = out[slot_feature[slot + j]]
                        held = table[place + (j << m) : place + ((j + 1) << m)]
                        for row in range(rows):
                            column[begin + row] += held[np.int64(bits[row] & known)]
                    continue
                for row in range(rows):
                    _shares(np.int64(bits[row] & known), ratio, slot, m, values[leaf], points, weights, found, before)
                    for j in range(m):
                        out[slot_feature[slot + j], begin + row] += found[j]


explain_trees = numba.njit(nogil=True, cache=True)(explain)


def compare(  # type: ignore[no-untyped-def]
    data, background, splits, feature, cut, nan_left, tree_leaf, values, leaf_slot, slot_feature, leaf_test, test_slot, test_word, test_mask,
    test_want, joins, leaves_out, out,
):  # fmt: skip
    """Add every tree's shares against each row of the background (d, b) to out (d, n); data is (d, n)."""
    n, b = data.shape[1], background.shape[1]
    room = max(b, BLOCK)
    spare, mine, theirs = np.empty(room, np.uint64), np.empty(BLOCK, np.uint64), np.empty(b, np.uint64)
    for tree in range(len(tree_leaf) - 1):
        start, count = splits[tree], splits[tree + 1] - splits[tree]
        first, last = tree_leaf[tree], tree_leaf[tree + 1]
        if count == 0 or not np.any(values[first:last]):
            continue
        words, others = np.empty(((count + 63) // 64, BLOCK), np.uint64), np.empty(((count + 63) // 64, b), np.uint64)
        _decide(background, 0, b, feature, cut, nan_left, start, count, others)
        for begin in range(0, n, BLOCK):
            rows = min(n - begin, BLOCK)
            _decide(data, begin, rows, feature, cut, nan_left, start, count, words)
            for leaf in range(first, last):
                if values[leaf] == 0.0:
                    continue
                tests = leaf_test[leaf], leaf_test[leaf + 1]
                _stays(words, rows, tests[0], tests[1], test_slot, test_word, test_mask, test_want, spare, mine)
                _stays(others, b, tests[0], tests[1], test_slot, test_word, test_mask, test_want, spare, theirs)
                slot = leaf_slot[leaf]
                m = leaf_slot[leaf + 1] - slot
                known = (np.uint64(1) << np.uint64(m)) - np.uint64(1)
                for other in range(b):
                    for row in range(rows):
                        if (mine[row] | theirs[other]) & known != known:
                            continue  # no coalition reaches the leaf
                        differ = (mine[row] ^ theirs[other]) & known
                        if differ == 0:
                            continue
                        p, q = 0, 0
                        for j in range(m):
                            if (differ >> np.uint64(j)) & np.uint64(1):
                                if (mine[row] >> np.uint64(j)) & np.uint64(1):
                                    p += 1
                                else:
                                    q += 1
                        for j in range(m):
                            if (differ >> np.uint64(j)) & np.uint64(1):
                                is_mine = (mine[row] >> np.uint64(j)) & np.uint64(1)
                                share = joins[p, q] if is_mine else -leaves_out[p, q]
                                out[slot_feature[slot + j], begin + row] += values[leaf] * share


compare_trees = numba.njit(nogil=True, cache=True)(compare)

"""Latent Dirichlet allocation: topics found by the spectrum of the words' moments, then refined by variational inference.

AWS's LDA is spectral; its moments need many documents, so that on small corpora likelihood suffers. Here the spectral topics are
the start of a few variational rounds, which can only raise the bound on the likelihood.
Sources: Anandkumar, Ge, Hsu, Kakade, Telgarsky, "Tensor decompositions for learning latent variable models", JMLR 15, 2014, theorem 3.5
(moments); Kolda, Bader, "Tensor decompositions and applications", SIAM Review 51(3), 2009, fig. 3.3 (alternating least squares);
Blei, Ng, Jordan, "Latent Dirichlet allocation", JMLR 3, 2003, section 5 (variational inference).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
SURPLUS = 1.25
INNER = 4
SMOOTHING = 1e-2
MOST_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """alpha0: sum of the Dirichlet prior; restarts, iterations and tolerance of the alternating least squares; variational rounds."""

    topics: int
    alpha0: float = 1.0
    restarts: int = 10
    iterations: int = 1000
    tolerance: float = 1e-8
    rounds: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Topics:
    """alpha (k,): the prior of the mixtures; beta (k, words): each topic's distribution over words, rows sum to 1."""

    alpha: Table
    beta: Table


def fit(counts: Any, settings: Settings) -> Topics:
    """The topics of documents.

    counts: (documents, words) csr matrix or array of word counts >= 0.
    Returns Topics, those with the larger prior first. Raises ValueError for negative counts, or when no document has three words.

    >>> rng = np.random.default_rng(0)
    >>> words = np.repeat(np.eye(2), 3, axis=1) / 3
    >>> found = fit(rng.multinomial(30, words[rng.integers(0, 2, 200)]), Settings(2))
    >>> sorted((found.beta > 0.2).sum(axis=1).tolist())
    [3, 3]
    """
    from scipy.sparse import csr_matrix

    rows = csr_matrix(counts, dtype=np.float64)
    if rows.data.size and rows.data.min() < 0:
        raise ValueError("counts: word counts must not be negative")
    long = rows[np.asarray(rows.sum(axis=1)).ravel() >= 3]
    if not long.shape[0]:
        raise ValueError("counts: no document has three words")
    rng = np.random.default_rng(settings.seed)
    start = _spectral(long, settings, rng)
    return _refine(rows, start, settings)


def mixtures(topics: Topics, counts: Any, *, rounds: int = 100, tolerance: float = 1e-3) -> Table:
    """Each document's mixture of topics: the mean of the variational Dirichlet, (documents, k), rows sum to 1.

    >>> topics = Topics(np.array([0.1, 0.1]), np.array([[0.9, 0.1], [0.1, 0.9]]))
    >>> bool(mixtures(topics, np.array([[20, 2]]))[0, 0] > 0.8)
    True
    """
    gamma = _infer(topics, counts, rounds, tolerance)[0]
    found: Table = gamma / gamma.sum(axis=1, keepdims=True)
    return found


def word_likelihood(topics: Topics, counts: Any) -> float:
    """The mean natural log-likelihood per word, log Σ_k θ_dk β_kw, under each document's own mixture (AWS's pwll)."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(counts, dtype=np.float64)
    theta, total = mixtures(topics, rows), 0.0
    for part in _parts(rows, len(topics.alpha)):
        documents, words, values = _entries(rows[part])
        chance = (theta[part][documents] * topics.beta.T[words]).sum(axis=1)
        total += float(values @ np.log(np.maximum(chance, 1e-300)))
    return total / max(float(rows.sum()), 1.0)


# ---------------------------------------------------------------- the spectrum


def _spectral(rows: Any, settings: Settings, rng: np.random.Generator) -> Topics:
    """Whiten the pair moment, decompose the whitened triple moment, undo the whitening.

    With a quarter more topics than asked for; those with the larger prior are kept.
    """
    wanted = min(int(np.ceil(settings.topics * SURPLUS)), min(rows.shape))
    whiten, undo = _whitening(rows, wanted, settings.alpha0, rng)
    tensor = _triple(rows, whiten, settings.alpha0)
    weights, vectors = _decompose(tensor, settings, rng)
    strength = np.maximum(np.abs(weights), 1e-6)
    alpha = 4 * settings.alpha0 * (settings.alpha0 + 1) / ((settings.alpha0 + 2) ** 2 * strength**2)
    beta = (undo @ (vectors * np.sign(weights))).T
    beta = np.maximum(beta * np.sign(beta.sum(axis=1, keepdims=True)), 0)
    best = np.argsort(-alpha)[: settings.topics]
    alpha, beta = alpha[best], np.where(np.isfinite(beta[best]), beta[best], 0.0)
    missing = settings.topics - len(best)
    if missing:  # the corpus shows fewer directions: the others begin as documents
        drawn = rows[rng.integers(0, rows.shape[0], missing)].toarray()
        alpha, beta = np.append(alpha, np.full(missing, alpha.min())), np.concatenate([beta, drawn / drawn.sum(axis=1, keepdims=True)])
    beta = beta + SMOOTHING / rows.shape[1]
    return Topics(settings.alpha0 * alpha / alpha.sum(), beta / beta.sum(axis=1, keepdims=True))


def _whitening(rows: Any, rank: int, alpha0: float, rng: np.random.Generator) -> tuple[Table, Table]:
    """(W, (Wᵀ)⁺), W (words, rank) with Wᵀ M₂ W = I, by power iterations that never form M₂ (words × words).

    Directions no stronger than the negative ones, which are noise, are left out.

    M₂ = E[x₁⊗x₂] − α₀/(α₀+1) E[x]⊗E[x], with E[x₁⊗x₂] of a document = (c⊗c − diag c) / (n(n−1)).
    """
    sizes = np.asarray(rows.sum(axis=1)).ravel()
    scale = 1 / (sizes * (sizes - 1)) / rows.shape[0]
    mean = np.asarray(rows.multiply((1 / sizes / rows.shape[0])[:, None]).sum(axis=0)).ravel()
    diagonal = np.asarray(rows.multiply(scale[:, None]).sum(axis=0)).ravel()

    def times(block: Table) -> Table:
        pairs = rows.T @ (scale[:, None] * (rows @ block)) - diagonal[:, None] * block
        found: Table = pairs - alpha0 / (alpha0 + 1) * np.outer(mean, mean @ block)
        return found

    basis, _ = np.linalg.qr(times(rng.normal(size=(rows.shape[1], min(rank + 10, rows.shape[1])))))
    for _ in range(6):
        basis, _ = np.linalg.qr(times(basis))
    values, inner = np.linalg.eigh(basis.T @ times(basis))
    noise = max(-float(values.min()), float(values.max()) * 1e-9)
    order = np.argsort(-values)[: min(rank, max(1, int((values > noise).sum())))]
    kept = values[order]
    vectors = basis @ inner[:, order]
    return vectors / np.sqrt(kept), vectors * np.sqrt(kept)


def _triple(rows: Any, whiten: Table, alpha0: float) -> Table:
    """The third moment of LDA seen through W on every side, (rank, rank, rank).

    E[x₁⊗x₂⊗x₃] − α₀/(α₀+2) (E[x₁⊗x₂⊗m] and its two turns) + 2α₀²/((α₀+1)(α₀+2)) m⊗m⊗m, m = E[x].
    """
    sizes = np.asarray(rows.sum(axis=1)).ravel()
    count, seen = rows.shape[0], rows @ whiten
    two, three = 1 / (sizes * (sizes - 1)) / count, 1 / (sizes * (sizes - 1) * np.maximum(sizes - 2, 1)) / count
    mean = (seen / sizes[:, None]).mean(axis=0)
    words = np.asarray(rows.multiply(three[:, None]).sum(axis=0)).ravel()
    own = np.einsum("w,wa,wb,wc->abc", words, whiten, whiten, whiten, optimize=True)
    mixed = np.einsum("wa,wb,wc->abc", whiten, whiten, rows.T @ (three[:, None] * seen), optimize=True)
    triples = np.einsum("da,db,dc->abc", three[:, None] * seen, seen, seen, optimize=True) - _turns(mixed) + 2 * own
    pair = (two[:, None] * seen).T @ seen - (whiten * np.asarray(rows.multiply(two[:, None]).sum(axis=0)).ravel()[:, None]).T @ whiten
    less = np.einsum("ab,c->abc", pair, mean)
    result: Table = triples - alpha0 / (alpha0 + 2) * _turns(less)
    result += 2 * alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * np.einsum("a,b,c->abc", mean, mean, mean)
    return result


def _turns(tensor: Table) -> Table:
    """The sum over the three places that the odd side may have."""
    found: Table = tensor + tensor.transpose(0, 2, 1) + tensor.transpose(2, 0, 1)
    return found


def _decompose(tensor: Table, settings: Settings, rng: np.random.Generator) -> tuple[Table, Table]:
    """Weights (k,) and unit columns (k, k) with tensor ≈ Σ w v⊗v⊗v, by alternating least squares; the best of the restarts."""
    from threadpoolctl import threadpool_limits

    best, found = np.inf, (np.ones(len(tensor)), np.eye(len(tensor)))
    with threadpool_limits(1):  # the matrices are small: threads would only wait for each other
        for _ in range(settings.restarts):
            miss, weights, vectors = _alternate(tensor, settings, rng)
            if miss < best:
                best, found = miss, (weights, vectors)
    return found


def _alternate(tensor: Table, settings: Settings, rng: np.random.Generator) -> tuple[float, Table, Table]:
    """One descent: (squared distance to the tensor, weights, columns)."""
    rank, size = len(tensor), float((tensor**2).sum())
    sides = [np.moveaxis(tensor, side, 0).reshape(rank, -1) for side in range(3)]
    factors = [np.linalg.qr(rng.normal(size=(rank, rank)))[0] for _ in range(3)]
    weights, miss = np.ones(rank), np.inf
    for _ in range(settings.iterations):
        for side in range(3):
            one, two = (factors[other] for other in range(3) if other != side)
            joined = sides[side] @ (one[:, None, :] * two[None, :, :]).reshape(-1, rank)
            grams = (one.T @ one) * (two.T @ two)
            solved = joined @ np.linalg.pinv(grams)
            weights = np.maximum(np.linalg.norm(solved, axis=0), 1e-12)
            factors[side] = solved / weights
        before, miss = miss, size - 2 * float((joined * solved).sum()) + float((grams * (solved.T @ solved)).sum())
        if abs(before - miss) <= settings.tolerance * size:
            break
    return miss, weights * np.sign((factors[1] * factors[2]).sum(axis=0)), factors[0]


# ---------------------------------------------------------------- variational inference


def _refine(rows: Any, topics: Topics, settings: Settings) -> Topics:
    """Rounds of variational EM from the given topics, until the words' likelihood gains less than two parts in 100,000."""
    gamma, before = None, -np.inf
    for _ in range(settings.rounds):
        gamma, sums, total = _infer(topics, rows, INNER, 1e-2, gamma)
        beta = sums + SMOOTHING
        topics = Topics(topics.alpha, beta / beta.sum(axis=1, keepdims=True))
        if abs(total - before) < 2e-5 * abs(total):
            break
        before = total
    shares = (gamma / gamma.sum(axis=1, keepdims=True)).mean(axis=0) if gamma is not None else topics.alpha
    alpha = settings.alpha0 * shares / shares.sum()
    order = np.argsort(-alpha)
    return Topics(alpha[order], topics.beta[order])


def _infer(topics: Topics, counts: Any, rounds: int, tolerance: float, start: Table | None = None) -> tuple[Table, Table, float]:
    """(γ of each document, expected counts of words by topic, log-likelihood of the words under exp E[log θ]).

    γ_k = α_k + Σ_w n_w φ_wk with φ_wk ∝ β_kw exp(Ψ(γ_k) − Ψ(Σγ)).
    """
    from scipy.sparse import csr_matrix

    rows = csr_matrix(counts, dtype=np.float64)
    gamma = np.empty((rows.shape[0], len(topics.alpha)))
    sums, total = np.zeros_like(topics.beta), 0.0
    for part in _parts(rows, len(topics.alpha)):
        block = rows[part]
        first = topics.alpha + np.asarray(block.sum(axis=1)) / len(topics.alpha) if start is None else start[part]
        gamma[part], share, likelihood = _infer_block(topics, block, first, rounds, tolerance)
        sums, total = sums + share, total + likelihood
    return gamma, sums, total


def _infer_block(topics: Topics, rows: Any, gamma: Table, rounds: int, tolerance: float) -> tuple[Table, Table, float]:
    from scipy.sparse import csr_matrix
    from scipy.special import psi

    documents, words, values = _entries(rows)
    likely = topics.beta.T[words]
    for _ in range(max(1, rounds)):
        weight = np.exp(psi(gamma) - psi(gamma.sum(axis=1, keepdims=True)))
        chance = np.einsum("ek,ek->e", weight[documents], likely) + 1e-300
        ratios = csr_matrix((values / chance, rows.indices, rows.indptr), shape=rows.shape)
        update = topics.alpha + weight * (ratios @ topics.beta.T)
        change, gamma = float(np.abs(update - gamma).mean()), update
        if change < tolerance:
            break
    sums: Table = topics.beta * (ratios.T @ weight).T
    return gamma, sums, float(values @ np.log(chance))


def _entries(rows: Any) -> tuple[NDArray[np.intp], NDArray[np.intp], Table]:
    """Every count as (document, word, value)."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices, rows.data


def _parts(rows: Any, topics: int) -> list[slice]:
    """Slices of documents with at most MOST_VALUES values of (count, topic)."""
    most = max(1, MOST_VALUES // max(1, topics))
    parts, first = [], 0
    while first < rows.shape[0]:
        last = int(np.searchsorted(rows.indptr, rows.indptr[first] + most, side="right")) - 1
        last = min(max(last, first + 1), rows.shape[0])
        parts.append(slice(first, last))
        first = last
    return parts

"""The BlazingText image: word vectors (cbow, skipgram, batch_skipgram) and text classification, by fastText.

The models are fastText's own: `vectors.bin` and `vectors.txt` (word2vec's text format) of words, `model.bin` of classes; binaries that
fastText made elsewhere are served too. batch_skipgram is our own (blazingtext_batches.py), its files are of the same form.
"""

import ctypes
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images import contract
from dewfall.images.builtin import blazingtext_batches, blazingtext_serving, report
from dewfall.images.builtin.algorithm import NO_DATA, NO_TRAIN
from dewfall.images.builtin.algorithm import settings as read_settings
from dewfall.images.contract import Channel, UserError, cluster, folders
from dewfall.images.formats import media_type
from dewfall.images.multimodel import serve_models
from dewfall.images.recordio import RecordError, frames

MISSING = "BlazingText needs fastText, which is not installed. Install it where Dewfall runs: pip install 'dewfall[blazingtext]'"
LABEL = "__label__"
COMMON = {"learning_rate": "lr", "vector_dim": "dim", "epochs": "epoch", "min_count": "minCount"}
WORDS = {"window_size": "ws", "negative_samples": "neg", "sampling_threshold": "t"}
PLAIN, JSON_LINES = ("", "text/plain"), ("application/jsonlines", "application/x-jsonlines")
GROWTH = 1.5
ATTEMPTS = 3
M_PERTURB = -6  # mallopt's option: new memory is filled with the complement of this byte


def train() -> None:
    """Train in the mode that is asked for."""
    try:
        import fasttext
    except ImportError:
        raise UserError(MISSING) from None
    given = read_settings("blazingtext")
    us = cluster()
    if len(us.hosts) > 1 and given["mode"] != "batch_skipgram":
        raise UserError(f"Mode '{given['mode']}' trains on a single instance, but the job has {len(us.hosts)}. Only batch_skipgram takes several.")
    channels = contract.channels()
    if "train" not in channels:
        raise UserError(NO_TRAIN)
    if not us.is_leader and channels["train"].distribution != "ShardedByS3Key":
        report.say(f"{us.hosts[0]}, which has the same data, trains the model.")
        sys.exit(0)
    folders().model.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        path = _text(channels["train"], Path(place) / "train", is_labelled=given["mode"] == "supervised")
        blazingtext_batches.gather(path, channels["train"])
        if not us.is_leader:
            report.say(f"Host {us.current_host} has delivered its lines to {us.hosts[0]}, which trains the model.")
            sys.exit(0)
        begin = time.monotonic()
        if given["mode"] == "supervised":
            held = _text(channels["validation"], Path(place) / "validation", is_labelled=True) if "validation" in channels else None
            _train_classes(fasttext, given, path, held)
        else:
            _train_words(fasttext, given, path)
    print(f"Total training time in seconds: {time.monotonic() - begin:.2f}", flush=True)


def _text(channel: Channel, path: Path, *, is_labelled: bool) -> Path:
    """The channel as one file of lines, labels in them."""
    count = 0
    with path.open("wb") as file:
        for line in _lines(channel):
            if is_labelled and LABEL.encode() not in line:
                raise UserError(f"Channel '{channel.name}': line {count + 1} has no label. Labels are words that begin with {LABEL}.")
            file.write(line + b"\n")
            count += 1
    if not count:
        raise UserError(NO_DATA)
    return path


def _lines(channel: Channel) -> Iterator[bytes]:
    kind = media_type(channel.content_type)[0]
    for body in channel.bodies():
        if channel.record_wrapper == "RecordIO" or kind == "application/x-recordio":
            try:
                attributes = [bytes(frame) for frame in frames(body)]
                lines = [_labelled(source.decode(), json.loads(label)) for source, label in zip(attributes[::2], attributes[1::2], strict=False)]
            except (RecordError, ValueError) as error:
                raise UserError(f"Unable to read data channel '{channel.name}' as records of a text and its label in turn: {error}") from None
            yield from lines
        elif kind in JSON_LINES or body.lstrip()[:1] == b"{":
            yield from (_labelled_line(line, channel.name) for line in body.splitlines() if line.strip())
        else:
            yield from (line for line in body.splitlines() if line.strip())


def _labelled_line(line: bytes, channel: str) -> bytes:
    try:
        document = json.loads(line)
        return _labelled(document["source"], document["label"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"Channel '{channel}': each line of an augmented manifest needs 'source' and 'label'.") from None


def _labelled(source: str, label: Any) -> bytes:
    """`__label__1 __label__3 the text`."""
    marks = " ".join(f"{LABEL}{one}" for one in (label if isinstance(label, list) else [label]))
    return f"{marks} {' '.join(source.split())}".encode()


def _train_words(fasttext: Any, given: dict[str, Any], path: Path) -> None:
    vectors = blazingtext_batches.train(given, path) if given["mode"] == "batch_skipgram" else _vectors(fasttext, given, path)
    with (folders().model / "vectors.txt").open("w") as file:
        file.write(f"{len(vectors)} {given['vector_dim']}\n")
        for word, vector in vectors.items():
            file.write(f"{word} {' '.join(f'{value:.6g}' for value in vector.tolist())}\n")
    print(f"Vocabulary size: {len(vectors)}", flush=True)
    if given["evaluation"]:
        _evaluate(vectors)


def _vectors(fasttext: Any, given: dict[str, Any], path: Path) -> dict[str, Any]:
    """fastText's skipgram or cbow: vectors.bin, and each word's vector."""
    chosen = {theirs: given[ours] for ours, theirs in (COMMON | WORDS).items()} | {"loss": "ns", "thread": report.threads(), "verbose": 0}
    chosen |= (
        {"minn": given["min_char"], "maxn": given["max_char"], "bucket": given["buckets"]}
        if given["subwords"]
        else {"minn": 0, "maxn": 0, "bucket": 0}
    )
    model = _trained(fasttext.train_unsupervised, path, model="cbow" if given["mode"] == "cbow" else "skipgram", **chosen)
    model.save_model(str(folders().model / "vectors.bin"))
    return {word: model.get_word_vector(word) for word in model.get_words()}


def _trained(fit: Any, path: Path, **chosen: Any) -> Any:
    for attempt in range(ATTEMPTS):
        try:
            with _zeroed_memory():
                return fit(input=str(path), **chosen)
        except (ValueError, RuntimeError) as error:
            if "NaN" not in str(error):
                raise UserError(f"Training failed: {error} Verify that words occur at least min_count times.") from None
            if attempt == ATTEMPTS - 1:
                raise UserError(f"Training diverged ({error}) Please lower the learning rate.") from None
    raise AssertionError


@contextmanager
def _zeroed_memory() -> Iterator[None]:
    """New memory is zero, where the C library can do that: fastText reads some that it has not written and may stop with "Encountered NaN"."""
    libc = ctypes.CDLL(None)
    change = getattr(libc, "mallopt", lambda *_: 0)
    change(M_PERTURB, 0xFF)
    try:
        yield
    finally:
        change(M_PERTURB, 0)


def _evaluate(vectors: dict[str, Any]) -> None:
    """Spearman's ρ between similarity by cosine and by people (WordSimilarity-353, which Gensim carries)."""
    try:
        from gensim.test.utils import datapath
    except ImportError:
        print("The word similarity test is left out: it comes with Gensim (pip install gensim).", flush=True)
        return
    from scipy.stats import spearmanr

    rows = [line.split("\t") for line in Path(datapath("wordsim353.tsv")).read_text().splitlines() if line and not line.startswith("#")]
    rows = [row for row in rows if len(row) == 3 and row[2].strip().replace(".", "", 1).isdigit()]
    found = [(one.lower(), two.lower(), float(mark)) for one, two, mark in rows if {one.lower(), two.lower()} <= vectors.keys()]
    rho = 0.0
    if len(found) > 1:
        near = [_cosine(vectors[one], vectors[two]) for one, two, _ in found]
        value = float(spearmanr(near, [mark for _, _, mark in found]).statistic)
        rho = value if np.isfinite(value) else 0.0
    result = {"EN-WS-353-ALL.txt": {"not_found": len(rows) - len(found), "spearmans_rho": rho, "total_pairs": len(rows)}, "mean_rho": rho}
    (folders().model / "eval.json").write_text(json.dumps(result, indent=4))
    print(json.dumps(result, indent=4) + f"\n#mean_rho: {rho:.4f}", flush=True)


def _cosine(one: Any, two: Any) -> float:
    return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two) + 1e-12))


def _train_classes(fasttext: Any, given: dict[str, Any], path: Path, held: Path | None) -> None:
    chosen = {theirs: given[ours] for ours, theirs in COMMON.items()} | {"wordNgrams": given["word_ngrams"], "thread": report.threads(), "verbose": 0}
    chosen |= {"bucket": given["buckets"] if given["word_ngrams"] > 1 else 0, "minn": 0, "maxn": 0}
    if given["early_stopping"] and held is not None:
        model = _stopped_early(fasttext, given, chosen, path, held)
    else:
        model = _trained(fasttext.train_supervised, path, **chosen)
    for name, file in (("train", path), ("validation", held)):
        if file is not None:
            count, accuracy, _ = model.test(str(file))
            print(f"#{name}_accuracy: {accuracy:.4f}\nNumber of {name} examples: {count}", flush=True)
    model.save_model(str(folders().model / "model.bin"))


def _stopped_early(fasttext: Any, given: dict[str, Any], chosen: dict[str, Any], path: Path, held: Path) -> Any:
    """The best of trainings of growing length, each from the beginning because fastText plans its learning rate by the end;
    no longer one follows when `patience` epochs brought nothing."""
    best, best_accuracy, best_epochs, epochs = None, -1.0, 0, min(given["min_epochs"], given["epochs"])
    while True:
        model = _trained(fasttext.train_supervised, path, **chosen | {"epoch": epochs})
        accuracy = model.test(str(held))[1]
        print(f"Epoch: {epochs}\nValidation accuracy: {accuracy:.4f}", flush=True)
        if accuracy > best_accuracy:
            best, best_accuracy, best_epochs = model, accuracy, epochs
        if epochs >= given["epochs"] or epochs - best_epochs >= given["patience"]:
            return best
        epochs = min(given["epochs"], max(epochs + 1, int(epochs * GROWTH)))


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["train"]:
        contract.run_training(train)
    elif arguments == ["serve"]:
        serve_models(blazingtext_serving.TextHandler)
    else:
        sys.exit("usage: train|serve")


if __name__ == "__main__":
    main()

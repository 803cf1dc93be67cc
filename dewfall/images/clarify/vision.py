"""SHAP of pictures: superpixels are the players, a baseline picture or white noise replaces them; heat maps are what is left behind.

<stem>_<class>.jpeg        classification: the heat map of the likeliest class (or of the classes that debug.class_ids names)
shap_<stem>_box1.jpeg …    detection: a heat map per object, the surest first
<stem>_objects.jpeg        detection: the picture with its objects
explanations_shap/out.jsonl  with save_local_shap_values: a line per picture, an attribution per superpixel
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.clarify import config, drawings, pictures, predictor, report, shap
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.pictures import Picture, Pixels
from dewfall.images.clarify.predictor import Predictor
from dewfall.images.contract import UserError
from dewfall.ml import imageshap
from dewfall.ml.imageshap import superpixel_shap
from dewfall.ml.reports import document as blocks
from dewfall.ml.superpixels import slic

CLASSIFICATION, DETECTION = "IMAGE_CLASSIFICATION", "OBJECT_DETECTION"
SAMPLES = 500  # coalitions per picture, where num_samples is not given
SHOWN = 40  # pictures of the report
DEFAULTS: dict[str, Any] = {
    "num_segments": 20,
    "segment_compactness": 5,
    "feature_extraction_method": "segmentation",
    "max_objects": 3,
    "iou_threshold": 0.5,
    "context": 1.0,
    "debug": {},
}
Numbers = NDArray[np.float64]


@dataclass(slots=True)
class Found:
    """About one picture: its entry of analysis.json, the files that show it, its line of out.jsonl."""

    entry: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    line: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[str, float] = field(default_factory=dict)


def run(analysis: Analysis, folder: Path, output: Path, session: Any, fetch: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What analysis.json holds, and which pictures failed for what; writes the heat maps and the report."""
    settings = check(analysis)
    held = _chosen(pictures.load(analysis, folder, fetch), settings["debug"])
    print(f"The dataset has {len(held)} images", flush=True)
    given = analysis.methods["shap"]
    mask = pictures.baseline(given.get("baseline"), fetch, int(given.get("seed") or 0))
    explain = _classified if settings["model_type"] == CLASSIFICATION else _detected
    found, failures = [], {}
    with predictor.opened(analysis, (), session) as model:
        job = Job(analysis, settings, model, mask)
        for number, picture in enumerate(held):
            try:
                found.append(explain(job, picture))
                for name, body in found[-1].files.items():
                    (output / name).write_bytes(body)
            except UserError as error:
                failures[picture.name] = str(error)
                found.append(Found({"name": picture.name, "error": str(error)}))
            print(f"Explained {number + 1} of {len(held)} images", flush=True)
    if given.get("save_local_shap_values", False):
        _write_local(output / shap.FOLDER, found)
    if "report" in analysis.methods:
        report.write(analysis.methods["report"] or {}, output, _blocks(found), len(found), "images")
    return {"version": "1.0", "explanations": {"kernel_shap": _overall(found), "images": [one.entry for one in found]}}, failures


def check(analysis: Analysis) -> dict[str, Any]:
    """image_config with its defaults. Raises UserError naming the member that is wrong."""
    others = sorted(set(analysis.methods) - {"shap", "report"})
    if others or "shap" not in analysis.methods:
        raise UserError(f"methods: {others[0] if others else 'shap'} is {'not supported' if others else 'required'} for dataset_type {config.IMAGE}.")
    given = (analysis.methods["shap"] or {}).get("image_config")
    if not given:
        raise UserError(f"shap: image_config is required for dataset_type {config.IMAGE}.")
    unknown = sorted(set(given) - {"model_type", *DEFAULTS})
    if unknown:
        raise UserError(f"image_config: unknown member '{unknown[0]}'. Allowed are {', '.join(sorted({'model_type', *DEFAULTS}))}.")
    settings = DEFAULTS | {name: value for name, value in given.items() if value is not None}
    if settings.get("model_type") not in (CLASSIFICATION, DETECTION):
        raise UserError(f"image_config: model_type '{settings.get('model_type')}' is not one of {CLASSIFICATION}, {DETECTION}.")
    if settings["feature_extraction_method"] != "segmentation":
        raise UserError(f"image_config: feature_extraction_method '{settings['feature_extraction_method']}' is not segmentation.")
    for name, low, high in (("num_segments", 1, 10_000), ("max_objects", 1, 10_000), ("iou_threshold", 0, 1), ("context", 0, 1)):
        if isinstance(settings[name], bool) or not isinstance(settings[name], (int, float)) or not low <= settings[name] <= high:
            raise UserError(f"image_config: {name} must be a number from {low} to {high}.")
    if not isinstance(settings["segment_compactness"], (int, float)) or not settings["segment_compactness"] > 0:
        raise UserError("image_config: segment_compactness must be a number above 0.")
    pictures.check_content_type(config.content_type(analysis))
    shap.check({name: value for name, value in analysis.methods["shap"].items() if name != "image_config"})
    return settings


class Job:
    """The model, asked about pictures, and what masks them."""

    def __init__(self, analysis: Analysis, settings: dict[str, Any], model: Predictor, mask: Callable[[tuple[int, ...]], Pixels]) -> None:
        self.settings = settings
        self.model = model
        self.mask = mask
        self.threshold = analysis.threshold
        self.shap = dict(analysis.methods["shap"])
        self.headers = tuple(map(str, analysis.predictor.get("label_headers") or ()))
        self.files: dict[str, int] = {}  # names of classes' heat maps that are used

    def segments(self, image: Pixels) -> NDArray[np.int64]:
        """The picture's superpixels."""
        return slic(image, int(self.settings["num_segments"]), compactness=float(self.settings["segment_compactness"]))

    def explained(self, ask: Callable[[Pixels], Numbers], image: Pixels, segments: NDArray[np.int64], players: Any = None) -> Any:
        """Shapley values of the superpixels. Raises UserError where the model's answers do not allow them."""
        try:
            return superpixel_shap(
                ask,
                image,
                self.mask(image.shape),
                segments,
                players=players,
                num_samples=self.shap.get("num_samples") or SAMPLES,
                use_logit=bool(self.shap.get("use_logit", False)),
                seed=int(self.shap.get("seed") or 0),
            )
        except ValueError as error:
            raise UserError(f"shap: {error}.") from None

    def scores(self, many: Pixels) -> Numbers:
        """Of a classifier, (m, k)."""
        parts = [pictures.scores(self.model.form, body, kind, count) for body, kind, count in self._asked(many)]
        if len({part.shape[1] for part in parts}) > 1:
            raise UserError("The model returned different numbers of scores for different images.")
        return np.concatenate(parts)

    def detections(self, many: Pixels) -> list[Numbers]:
        """Of a detector, (n, 6) for each picture."""
        return [rows for body, _, count in self._asked(many) for rows in pictures.detections(self.model.form, body, count)]

    def classes(self, image: Pixels, count: int) -> list[str]:
        """The names of a classifier's scores: label_headers, else what its answers say, else label0, label1 …"""
        held = list(self.headers)
        if not held and self.model.form.label is not None:
            body, _ = self.model.invoke(next(pictures.encode(image[None], self.model.form.content_type))[0])
            held = pictures.names(self.model.form, body)
        if self.headers and len(held) != count:
            raise UserError(f"predictor: {len(held)} label_headers are given, but the model returns {count} scores.")
        return held if len(held) == count else [f"label{i}" for i in range(count)]

    def name(self, number: float) -> str:
        """What a detector's class is called."""
        return self.headers[int(number)] if 0 <= int(number) < len(self.headers) else f"label{int(number)}"

    def _asked(self, many: Pixels) -> list[tuple[bytes, str, int]]:
        """The model's answers with their content types, and how many pictures each is about."""

        def ask(one: tuple[bytes, int]) -> tuple[bytes, str, int]:
            return *self.model.invoke(one[0]), one[1]

        bodies = list(pictures.encode(many, self.model.form.content_type))
        with ThreadPoolExecutor(predictor.AT_ONCE) as pool:
            return list(pool.map(ask, bodies))


def _classified(job: Job, picture: Picture) -> Found:
    image = picture.pixels()
    segments = job.segments(image)
    found = job.explained(job.scores, image, segments)
    names = job.classes(image, len(found.expected))
    best = int(found.predictions[0].argmax())
    wanted = job.settings["debug"].get("class_ids") or [best]
    if any(not 0 <= int(one) < len(names) for one in wanted):
        raise UserError(f"image_config: debug.class_ids names a class beyond the model's {len(names)} scores.")
    told = _told(picture, image, segments) | {"predicted_label": names[best], "score": float(found.predictions[0, best])}
    made = Found(told, line=_line(picture, segments, found.values[0]), expected=dict(zip(names, found.expected.tolist(), strict=True)))
    for one in dict.fromkeys(map(int, wanted)):
        title = f"{picture.name}: {names[one]}, score {found.predictions[0, one]:.3f}"
        file = pictures.unused(f"{picture.stem}_{_plain(names[one])}", job.files)
        made.files[f"{file}.jpeg"] = drawings.heat(image, segments, found.values[0, :, one], title)
    made.entry["heat_maps"] = list(made.files)
    return made


def _detected(job: Job, picture: Picture) -> Found:
    image = picture.pixels()
    segments = job.segments(image)
    rows = job.detections(image[None])[0]
    rows = rows[rows[:, 1] >= job.threshold]
    rows = rows[np.argsort(-rows[:, 1], kind="stable")][: int(job.settings["max_objects"])]
    names = [job.name(row[0]) for row in rows]
    values, expected, whole = _object_values(job, image, segments, rows)
    made = Found(_told(picture, image, segments) | {"objects": []}, line=_line(picture, segments, values))
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        file = f"shap_{picture.stem}_box{i + 1}.jpeg"
        title = f"{picture.name}, object {i + 1}: {name}, score {row[1]:.3f}"
        made.files[file] = drawings.heat(image, segments, values[:, i], title, row[2:])
        about = {"label": name, "score": float(row[1]), "bounding_box": row[2:].tolist(), "heat_map": file}
        made.entry["objects"].append(about | {"expected_value": float(expected[i]), "explained_score": float(whole[i])})
    made.files[f"{picture.stem}_objects.jpeg"] = drawings.objects(image, rows, names)
    made.entry["heat_maps"] = list(made.files)
    return made


def _object_values(job: Job, image: Pixels, segments: NDArray[np.int64], rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """values (p, objects), expected (objects,), predictions (objects,). One run where the whole picture takes part, else one per object."""
    threshold, context = float(job.settings["iou_threshold"]), float(job.settings["context"])
    values, expected, whole = np.zeros((int(segments.max()) + 1, len(rows))), np.zeros(len(rows)), np.zeros(len(rows))
    groups = [np.arange(len(rows))] if context == 1 and len(rows) else [np.array([i]) for i in range(len(rows))]
    for group in groups:

        def ask(many: Pixels, mine: NDArray[np.int64] = group) -> Numbers:
            return np.array([[imageshap.object_score(rows[i], one, threshold) for i in mine] for one in job.detections(many)])

        players = imageshap.within(segments, rows[group[0], 2:], context)
        found = job.explained(ask, image, segments, players)
        values[np.ix_(players, group)] = found.values[0]
        expected[group], whole[group] = found.expected, found.predictions[0]
    return values, expected, whole


def _chosen(held: list[Picture], debug: dict[str, Any]) -> list[Picture]:
    """What debug narrows the dataset to: names, and a range of places."""
    names = debug.get("image_names")
    kept = [one for one in held if not names or one.name in names or one.name.rsplit("/", 1)[-1] in names]
    kept = kept[debug.get("sample_from") or 0 : debug.get("sample_to")]
    if not kept:
        raise UserError("image_config: debug leaves no image of the dataset.")
    return kept


def _told(picture: Picture, image: Pixels, segments: NDArray[np.int64]) -> dict[str, Any]:
    return {"name": picture.name, "height": image.shape[0], "width": image.shape[1], "segments": int(segments.max()) + 1}


def _line(picture: Picture, segments: NDArray[np.int64], values: Numbers) -> list[dict[str, Any]]:
    """As out.jsonl of texts: an attribution per superpixel, described by its box in fractions and its share of the picture."""
    height, width = segments.shape
    attributions = []
    for number, value in enumerate(values):
        rows, columns = np.nonzero(segments == number)
        box = [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
        described = {"segment": number, "bounding_box": [float(one) for one in box], "share": len(rows) / segments.size}
        attributions.append({"attribution": value.tolist(), "description": described})
    return [{"feature_name": picture.name, "data_type": "image", "attributions": attributions}]


def _write_local(folder: Path, found: list[Found]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "out.jsonl").write_text("".join(json.dumps({"explanations": one.line}) + "\n" for one in found if one.line))


def _overall(found: list[Found]) -> dict[str, Any]:
    """Per class what is expected of the baseline; superpixels of different pictures have no values in common."""
    totals: dict[str, list[float]] = {}
    for one in found:
        for name, value in one.expected.items():
            totals.setdefault(name, []).append(value)
    return {name: {"global_shap_values": {}, "expected_value": float(np.mean(values))} for name, values in totals.items()}


def _blocks(found: list[Found]) -> list[blocks.Block]:
    """The report: a line and the heat maps per picture, and what could not be explained."""
    rows = [[entry["name"], entry.get("width"), entry.get("height"), entry.get("segments"), _said(entry)] for entry in (one.entry for one in found)]
    marks = frozenset(i for i, one in enumerate(found) if "error" in one.entry)
    made: list[blocks.Block] = [blocks.Heading("Dataset"), blocks.Table(["image", "width", "height", "segments", "prediction"], rows, marks)]
    made += [blocks.Text(f"{one.entry['name']}: {one.entry['error']}", "bad") for one in found if "error" in one.entry]
    shown = [(name, body) for one in found for name, body in one.files.items()]
    if shown:
        told = "Blue superpixels raise the score, red ones lower it; the scale holds Shapley values."
        made += [blocks.Heading("Local explanations: Kernel SHAP"), blocks.Text(told)]
        made += [blocks.Picture(body, name) for name, body in shown[:SHOWN]]
    if len(shown) > SHOWN:
        made.append(blocks.Text(f"{len(shown) - SHOWN} more pictures are in the output."))
    return made


def _said(entry: dict[str, Any]) -> str:
    if "error" in entry:
        return "not explained"
    if "objects" in entry:
        return ", ".join(f"{one['label']} {one['score']:.3f}" for one in entry["objects"]) or "no objects"
    return f"{entry['predicted_label']} {entry['score']:.3f}"


def _plain(name: str) -> str:
    """A name that a file may have."""
    return re.sub(r"[^\w.-]+", "_", name)[:80] or "label"

"""Clarify's job on pictures: heat maps of a digit's class and of detected objects; what is broken is told, and the rest stands."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dewfall.images.clarify import config, pictures, vision
from dewfall.images.clarify.__main__ import run
from dewfall.images.clients import make_session
from dewfall.images.contract import UserError
from dewfall.ml.superpixels import slic

Answer = Callable[[bytes, str], Any]
DETECT = {"model_type": "OBJECT_DETECTION", "num_segments": 12}
CONFIG: dict[str, Any] = {
    "dataset_type": "application/x-image",
    "methods": {
        "shap": {"image_config": {"model_type": "IMAGE_CLASSIFICATION", "num_segments": 12}, "num_samples": 120, "save_local_shap_values": True},
        "report": {"name": "report"},
    },
    "predictor": {"endpoint_name": "e", "label_headers": ["dark", "light"]},
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets what an endpoint answers to a request's body and content type."""
    current: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found = json.dumps(current["answer"](body, self.headers["Content-Type"])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, format: str, *args: Any) -> None:
            """No lines in the tests' output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield lambda answer: current.update(answer=answer)
    server.shutdown()
    thread.join()
    server.server_close()


def changed(**image: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(CONFIG))
    document["methods"]["shap"]["image_config"] = {**document["methods"]["shap"]["image_config"], **image}
    return document


def analyse(folder: Path, document: dict[str, Any], **files: Any) -> dict[str, Any]:
    (folder / "data").mkdir()
    for name, held in files.items():
        path = folder / "data" / name.replace("_png", ".png").replace("_jpg", ".jpg")
        path.write_bytes(held if isinstance(held, bytes) else encoded(held))
    (folder / "config.json").write_text(json.dumps(document))
    return run(folder / "config.json", folder / "data", folder / "out", make_session())


def encoded(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def lit(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Any:
    """A dark picture with light boxes (left, top, right, bottom)."""
    made = np.full((height, width, 3), 20, np.uint8)
    for left, top, right, bottom in boxes:
        made[top:bottom, left:right] = 240
    return made


def brightness(body: bytes, kind: str) -> Any:
    """A classifier: [dark, light]."""
    light = float(np.asarray(Image.open(io.BytesIO(body)).convert("L")).mean() / 255)
    return {"prediction": [1 - light, light]}


def boxes(body: bytes, kind: str) -> Any:
    """A detector of light things, class 1; asked with arrays or files."""
    many = np.load(io.BytesIO(body)) if kind == pictures.NPY else np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))[None]
    found = []
    for one in many.mean(axis=3):
        marks = ndimage.label(one > 200)[0]
        size = (one.shape[1], one.shape[0]) * 2
        places = [(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(marks)]
        held = [(place, float((one[place[1] : place[3], place[0] : place[2]] > 200).mean())) for place in places if np.ptp(place[::2]) > 6]
        found.append([[1, score, *(v / s for v, s in zip(place, size, strict=True))] for place, score in held])
    return {"prediction": found} if kind == pictures.NPY else {"prediction": found[0]}


def test_a_heat_map_lights_what_the_class_is_made_of(tmp_path: Path, model: Any) -> None:
    model(brightness)
    picture = lit(40, 60, (30, 0, 60, 40))
    said = analyse(tmp_path, CONFIG | {"predictor": CONFIG["predictor"] | {"probability": "prediction"}}, half_png=picture, small_png=lit(9, 7))
    half, small = said["explanations"]["images"]
    assert (half["predicted_label"], half["heat_maps"], small["predicted_label"]) == ("light", ["half_light.jpeg"], "dark")
    lines = [json.loads(line)["explanations"][0] for line in (tmp_path / "out" / "explanations_shap" / "out.jsonl").read_text().splitlines()]
    values = np.array([one["attribution"] for one in lines[0]["attributions"]])
    expected = [said["explanations"]["kernel_shap"][name]["expected_value"] for name in ("dark", "light")]
    assert np.isfinite(expected).all()
    left = np.array([one["description"]["bounding_box"][2] <= 0.5 for one in lines[0]["attributions"]])
    assert values[~left, 1].min() > 0 > values[left, 1].max()
    drawn = np.asarray(Image.open(tmp_path / "out" / "half_light.jpeg")).astype(int)
    panel = drawn[22:, 370:730]  # the heat map: 40 × 60 pixels at 6 times their size
    assert (panel[120, 300, 2] > panel[120, 300, 0] + 50, panel[120, 60, 0] > panel[120, 60, 2] + 50) == (True, True)
    assert "half_light.jpeg" in (tmp_path / "out" / "report.html").read_text()


def test_every_heat_map_has_a_file_of_its_own(tmp_path: Path, model: Any) -> None:
    model(brightness)
    document = changed(num_segments=4, debug={"class_ids": [0, 1, 1]})
    document["predictor"] |= {"label_headers": ["a b", "a_b"]}
    document["methods"]["shap"] |= {"num_samples": 20}
    picture = encoded(lit(20, 20, (10, 0, 20, 20)))
    said = analyse(tmp_path, document, **{"1.jpg": picture, "1.png": picture, "1_2.png": picture, "1_a.png": picture})
    maps = [name for one in said["explanations"]["images"] for name in one["heat_maps"]]
    assert maps[:2] == ["1_a_b.jpeg", "1_a_b_2.jpeg"]
    assert len(set(maps)) == 8
    assert {path.name for path in (tmp_path / "out").glob("*.jpeg")} == set(maps)


def test_values_add_up_to_the_score(tmp_path: Path, model: Any) -> None:
    model(brightness)
    said = analyse(tmp_path, changed(num_segments=6), one_png=lit(30, 30, (0, 0, 15, 15)))
    line = json.loads((tmp_path / "out" / "explanations_shap" / "out.jsonl").read_text())["explanations"][0]
    total = sum(one["attribution"][0] for one in line["attributions"])
    assert total + said["explanations"]["kernel_shap"]["dark"]["expected_value"] == pytest.approx(said["explanations"]["images"][0]["score"])


@pytest.mark.parametrize("kind", ["image/jpeg", "application/x-npy"])
def test_detected_objects_have_a_heat_map_each(tmp_path: Path, model: Any, kind: str) -> None:
    model(boxes)
    document = changed(**DETECT) | {"predictor": CONFIG["predictor"] | {"content_type": kind}}
    said = analyse(tmp_path, document, two_png=lit(48, 64, (4, 4, 24, 24), (36, 24, 60, 44)), none_png=lit(20, 20))
    none, two = said["explanations"]["images"]
    assert (none["objects"], none["heat_maps"]) == ([], ["none_objects.jpeg"])
    assert two["heat_maps"] == ["shap_two_box1.jpeg", "shap_two_box2.jpeg", "two_objects.jpeg"]
    assert [one["label"] for one in two["objects"]] == ["light", "light"]
    lines = [json.loads(line)["explanations"][0] for line in (tmp_path / "out" / "explanations_shap" / "out.jsonl").read_text().splitlines()]
    for place, one in enumerate(two["objects"]):
        best = max(lines[1]["attributions"], key=lambda held: held["attribution"][place])["description"]["bounding_box"]
        mine = one["bounding_box"]
        assert best[0] < mine[2]
        assert best[2] > mine[0]
        assert best[1] < mine[3]
        assert best[3] > mine[1]


def test_without_context_only_the_object_takes_part(tmp_path: Path, model: Any) -> None:
    model(boxes)
    analyse(tmp_path, changed(**DETECT, context=0.0, max_objects=1), two_png=lit(48, 64, (4, 4, 24, 24), (36, 24, 60, 44)))
    line = json.loads((tmp_path / "out" / "explanations_shap" / "out.jsonl").read_text())["explanations"][0]
    held = [one for one in line["attributions"] if one["attribution"] != [0.0]]
    assert 0 < len(held) < len(line["attributions"])
    assert not (tmp_path / "out" / "shap_two_box2.jpeg").exists()


def test_a_broken_file_is_told_and_the_others_stand(tmp_path: Path, model: Any) -> None:
    model(brightness)
    good = encoded(lit(20, 20))
    said = analyse(tmp_path, CONFIG, bad_jpg=b"no picture", cut_png=good[: len(good) // 2], good_png=good)
    told = {one["name"]: one.get("error", "") for one in said["explanations"]["images"]}
    assert "The image file bad.jpg cannot be decoded" in told["bad.jpg"]
    assert "cut.png cannot be decoded" in told["cut.png"]
    assert told["good.png"] == ""
    assert "bad.jpg cannot be decoded" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("answer", "image", "told"),
    [
        ({"scores": [0.5, 0.5]}, {}, "is not an array of scores"),
        ([[0.1, 0.9], [0.2, 0.8]], {}, "scores of shape"),
        ([0.1, 0.2, 0.7], {}, "2 label_headers are given, but the model returns 3 scores"),
        ("yes", {}, "is not an array of scores"),
        ([], {}, "scores of shape"),
        ([None, 1], {}, "not finite"),
        ([[1, 0.9, 0.1]], DETECT, "six numbers"),
        ([0.1, 0.9], DETECT, "six numbers"),
        ({"boxes": []}, DETECT, "six numbers"),
        ([[1, 0.9, 10, 10, 30, 30]], DETECT, "must be fractions"),
    ],
)
def test_an_answer_of_the_wrong_shape_ends_the_job_with_a_report(tmp_path: Path, model: Any, answer: Any, image: Any, told: str) -> None:
    model(lambda body, kind: answer)
    with pytest.raises(UserError, match=told):
        analyse(tmp_path, changed(**image), one_png=lit(20, 20))
    assert told in json.loads((tmp_path / "out" / "analysis.json").read_text())["explanations"]["images"][0]["error"]
    assert "not explained" in (tmp_path / "out" / "report.html").read_text()


def test_no_image_at_all(tmp_path: Path, model: Any) -> None:
    with pytest.raises(UserError, match=r"no image files .* other files, such as notes.txt"):
        analyse(tmp_path, CONFIG, **{"notes.txt": b"x"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "SEGMENTATION"}, "model_type 'SEGMENTATION' is not one of"),
        ({"num_segments": 0}, "num_segments must be a number from 1"),
        ({"iou_threshold": 1.5}, "iou_threshold must be a number from 0 to 1"),
        ({"segment_compactness": 0}, "segment_compactness must be a number above 0"),
        ({"feature_extraction_method": "grid"}, "is not segmentation"),
        ({"segments": 3}, "unknown member 'segments'"),
    ],
)
def test_a_wrong_image_config_is_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        vision.check(config.check(changed(**change)))


def test_other_methods_and_content_types_are_refused() -> None:
    document = CONFIG | {"predictor": {"endpoint_name": "e", "content_type": "text/csv"}}
    with pytest.raises(UserError, match="content_type text/csv is not supported for images"):
        vision.check(config.check(document))
    with pytest.raises(UserError, match="pdp is not supported for dataset_type application/x-image"):
        vision.check(config.check(CONFIG | {"methods": CONFIG["methods"] | {"pdp": {"grid_resolution": 3}}}))
    with pytest.raises(UserError, match="image_config is required"):
        vision.check(config.check(CONFIG | {"methods": {"shap": {}}}))


def test_a_baseline_picture_takes_the_size_of_the_image() -> None:
    mask = pictures.baseline("s3://b/mask.png", lambda uri: [(uri, encoded(lit(4, 4)))], 0)
    assert (mask((9, 7, 3)).shape, int(mask((9, 7, 3)).max())) == ((9, 7, 3), 20)
    noise = pictures.baseline(None, lambda uri: [], 3)((30, 30, 3))
    assert noise.std() > 50
    with pytest.raises(UserError, match="no baseline at"):
        pictures.baseline("s3://b/x.png", lambda uri: [], 0)


def test_manifests_and_equal_stems() -> None:
    held = {"s3://b/a.manifest": b'{"source-ref": "s3://b/x/1.png"}\n{"source-ref": "s3://b/y/1.jpg"}\n'}
    document = config.check(CONFIG | {"dataset_uri": "s3://b/a.manifest"})
    found = pictures.load(document, Path("/nowhere"), lambda uri: [(uri.removeprefix("s3://b/"), held.get(uri, b"p"))])
    assert [(one.name, one.stem) for one in found] == [("x/1.png", "1"), ("y/1.jpg", "1_2")]


def test_superpixels_are_connected_and_follow_colours() -> None:
    rng = np.random.default_rng(0)
    found = slic(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), 20)
    assert 10 <= found.max() + 1 <= 30
    assert all(ndimage.label(found == number)[1] == 1 for number in range(found.max() + 1))
    halves = slic(lit(20, 40, (22, 0, 40, 20)), 8, compactness=1)
    assert not set(np.unique(halves[:, :22])) & set(np.unique(halves[:, 22:]))

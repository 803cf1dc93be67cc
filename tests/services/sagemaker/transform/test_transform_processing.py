"""DataProcessing of whole jobs: filters before and after, records joined with their answers."""

from __future__ import annotations

from .conftest import Transforms

CSV = {"SplitType": "Line", "ContentType": "text/csv"}
TO_CSV = {"AssembleWith": "Line", "Accept": "text/csv"}


def test_csv_without_its_id_and_joined_with_it(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"7,1,2\n8,3,4\n"})
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    job = transforms.run(source=CSV, target=TO_CSV, DataProcessing=processing)
    assert job["DataProcessing"] == processing
    assert transforms.outputs() == {"out/a.csv.out": b"7,3.0\n8,7.0\n"}


def test_json_lines(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.jsonl": b'{"id": 1, "features": [1, 2]}\n{"id": 2, "features": [3, 4]}\n'})
    processing = {"InputFilter": "$['features']", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}
    lines = "application/jsonlines"
    transforms.run(source={"SplitType": "Line", "ContentType": lines}, target={"AssembleWith": "Line", "Accept": lines}, DataProcessing=processing)
    first, second = (b'{"id":1,"SageMakerOutput":{"score":3}}\n', b'{"id":2,"SageMakerOutput":{"score":7}}\n')
    assert transforms.outputs() == {"out/a.jsonl.out": first + second}


def test_a_json_file_as_one_record(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.json": b'{"features": [1, 2]}'})
    transforms.run(source={"ContentType": "application/json"}, target={"Accept": "application/json"}, DataProcessing={"JoinSource": "Input"})
    assert transforms.outputs() == {"out/a.json.out": b'{"features":[1,2],"SageMakerOutput":{"score":3}}'}


def test_a_csv_file_that_is_not_split_is_still_joined_by_row(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1,2\n3,4\n"})
    transforms.run(source={"ContentType": "text/csv"}, target=TO_CSV, DataProcessing={"JoinSource": "Input"})
    assert transforms.outputs() == {"out/a.csv.out": b"1,2,3.0\n3,4,7.0\n"}


def test_an_answer_of_another_length_fails_the_file(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a.csv": b"1,2\n3,4\n"})
    job = transforms.run(source=CSV, target=TO_CSV, DataProcessing={"JoinSource": "Input"})
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert "cannot be joined" in transforms.log()

"""A container's /opt/ml in a temporary folder, to run an algorithm's commands in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

DATA = Path("/work/shared/data")


@dataclass(frozen=True, slots=True)
class OptMl:
    """Where the container's files are."""

    home: Path

    @property
    def model(self) -> Path:
        return self.home / "model"

    def write(self, hyperparameters: Mapping[str, str], channels: Mapping[str, bytes | str], content_type: str = "text/csv") -> None:
        """Lay out a training job; a channel's content is one file."""
        config = self.home / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        self.model.mkdir(exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(dict(hyperparameters)))
        entry = {"ContentType": content_type, "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(channels, entry)))
        for name, body in channels.items():
            folder = self.home / "input" / "data" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "data").write_bytes(body.encode() if isinstance(body, str) else body)


@pytest.fixture
def opt_ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OptMl:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return OptMl(tmp_path)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A real data file, or skip."""

    def find(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"{name} is not here")
        return DATA / name

    return find

"""Commands of the user's that cannot run here say so before they begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dewfall.images import command


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where SDK v3's ModelTrainer has its script, on a machine without an SSH server."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(command, "SSHD", tmp_path / "sshd")
    path = tmp_path / "input" / "data" / "sm_drivers" / "sm_train.sh"
    path.parent.mkdir(parents=True)
    return path


def test_the_mpi_driver_of_sdk_v3_names_what_it_lacks(script: Path) -> None:
    script.write_text("$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/distributed_drivers/mpi_driver.py\n")
    with pytest.raises(SystemExit):
        command.main([sys.executable, "-c", "raise AssertionError"])
    said = (script.parents[3] / "output" / "failure").read_text()
    assert said.startswith("AlgorithmError: The MPI driver of ModelTrainer needs what is not installed where Dewfall runs: an SSH server")
    assert "Torchrun" in said


def test_other_drivers_begin(script: Path) -> None:
    script.write_text("$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/distributed_drivers/torchrun_driver.py\n")
    assert command.no_mpi() == ""

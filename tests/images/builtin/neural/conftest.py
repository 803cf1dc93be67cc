"""One thread for small networks: on a busy machine threads that wait for each other cost more than they give."""

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)

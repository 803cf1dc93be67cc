"""Training files → DMatrix."""

from pathlib import Path
from typing import Any

from dewfall.images.contract import Channel
from dewfall.images.datasets import read_table


def get_dmatrix(data_path: Any, content_type: str, csv_weights: int = 0, is_pipe: bool = False, combine_train_val: bool = False) -> Any:
    """Every file of a folder (or of several), label first; None when there is no such folder."""
    import xgboost

    path = Path(data_path[0] if isinstance(data_path, (list, tuple)) else data_path)
    if not path.exists():
        return None
    kind = content_type if "/" in content_type else f"text/{content_type}"
    kind = {"text/parquet": "application/x-parquet", "text/recordio-protobuf": "application/x-recordio-protobuf"}.get(kind, kind)
    folder = path if path.is_dir() else path.parent
    table = read_table(Channel(folder.name, folder, kind), weighted=bool(csv_weights))
    return xgboost.DMatrix(table.features, label=table.labels, weight=table.weights)

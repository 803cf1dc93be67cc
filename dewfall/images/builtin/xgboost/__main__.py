"""`python -m dewfall.images.builtin.xgboost train|serve`: the XGBoost container's two commands."""

import sys

from dewfall.images.contract import run_training
from dewfall.images.lean import import_lean


def main(arguments: list[str]) -> None:
    if arguments == ["train"]:
        import_lean("xgboost")
        from dewfall.images.builtin.xgboost.training import train

        run_training(train)
    elif arguments == ["serve"]:
        from dewfall.images.builtin.xgboost.serving import start

        start()
    else:
        sys.exit("usage: python -m dewfall.images.builtin.xgboost train|serve")


if __name__ == "__main__":
    main(sys.argv[1:])

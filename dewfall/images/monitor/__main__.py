"""`python -m dewfall.images.monitor`: one baselining or monitoring job."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from dewfall.images import clients, contract
from dewfall.images.contract import UserError
from dewfall.images.monitor import data, model, outcome, scripts, settings


def main() -> int:
    """The job's exit code; what the customer can mend is told as ClientError."""
    signal.signal(signal.SIGTERM, _end)
    try:
        held = settings.read()
        found = (model.run if held.model_quality else data.run)(held, clients.make_session())
        scripts.postprocess(held.postprocessor)
    except UserError as error:
        print(f"ClientError: {error}", file=sys.stderr, flush=True)
        contract.write_failure(f"ClientError: {error}")
        return contract.CLIENT_ERROR_EXIT
    outcome.finish(found)
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

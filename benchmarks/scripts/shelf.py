"""A multi-model container with room for so many XGBoost models (SHELF_ROOM): beyond that it answers 507, and the platform makes room."""

from __future__ import annotations

import os

from dewfall.images.builtin.xgboost.serving import XGBoostHandler
from dewfall.images.http import Answer, Invocation, serve
from dewfall.images.multimodel import MultiModelHandler

ROOM = int(os.environ["SHELF_ROOM"])


class Shelf(MultiModelHandler):
    """The toolkit's own handler, with a bound that does not depend on the machine."""

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        if (method, path) == ("POST", "/models") and len(self._models) >= ROOM:
            return Answer("full", "text/plain", 507)
        return super().route(method, path, invocation)


serve(Shelf(XGBoostHandler))

"""Inference Recommender's work, on the other side of the container contract: the load on one endpoint, and the report of all of them.

`python -m dewfall.images.recommender` loads an endpoint, `python -m dewfall.images.recommender.report` draws what was measured.
"""

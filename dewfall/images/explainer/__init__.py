"""Clarify's online explainer: a process between the router and a model's server that adds Kernel SHAP values to the model's answers.

    router ─ unix socket ─ explainer (handler.py) ─ unix socket or port ─ the model's own server
                               └ rows mixed with the baseline, asked in batches

Both are children of __main__.py, so an endpoint's replica is one agent as ever. Endpoints without an explainer know nothing of this.
"""

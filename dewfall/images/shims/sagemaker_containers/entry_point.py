"""Imported by AWS's XGBoost examples; nothing of it is used inside a running script."""

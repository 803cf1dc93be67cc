"""AWS's XGBoost container, as far as scripts import it."""

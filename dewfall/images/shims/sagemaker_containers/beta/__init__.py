"""Where AWS's older toolkit keeps its public names."""

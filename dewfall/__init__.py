"""Dewfall: the AWS machine-learning cloud, condensed onto your own machine."""

__version__ = "0.1.0"


def activate(url: str = "") -> str:
    """Point this process (a notebook, say) at a running server; see `dewfall.activation`."""
    from dewfall.activation import activate as begin

    return begin(url)

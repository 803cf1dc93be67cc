"""Neural networks of the built-in algorithms on PyTorch, which only these modules import (the extra `dewfall[torch]`)."""

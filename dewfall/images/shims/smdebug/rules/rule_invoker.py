"""`from smdebug.rules.rule_invoker import invoke_rule`."""

from dewfall.images.debugging.analysis.rule import invoke_rule

__all__ = ["invoke_rule"]

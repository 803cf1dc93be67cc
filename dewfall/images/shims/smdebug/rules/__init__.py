"""`from smdebug.rules import Rule, invoke_rule`."""

from dewfall.images.debugging.analysis.rule import RequiredTensors, Rule, invoke_rule

__all__ = ["RequiredTensors", "Rule", "invoke_rule"]

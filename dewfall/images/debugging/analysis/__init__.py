"""smdebug's programming model for analysis, as custom rules import it: trials, tensors, rules, and what they raise.

The names are smdebug's own; `images/shims/smdebug` gives them their places.
"""

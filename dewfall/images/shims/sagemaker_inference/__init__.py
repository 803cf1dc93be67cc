"""AWS's inference toolkit, as far as scripts import it."""

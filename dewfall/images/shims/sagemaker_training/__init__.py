"""AWS's training toolkit, as far as scripts import it."""

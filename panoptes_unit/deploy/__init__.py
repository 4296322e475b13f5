"""One path to a running release: the transaction and what it works on."""

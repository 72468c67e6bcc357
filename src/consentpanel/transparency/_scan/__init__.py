"""``scan``: what a code base sends, by its syntax."""

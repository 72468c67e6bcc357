"""A message taken apart, what its values become, and what was decided about it."""

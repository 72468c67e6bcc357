"""Finds personal data in texts and numbers."""

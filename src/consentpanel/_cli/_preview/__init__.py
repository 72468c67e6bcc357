"""``python -m consentpanel preview``: what a policy would leave of real events."""

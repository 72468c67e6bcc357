"""``python -m consentpanel demo``: a shop whose visitors say yes, no or nothing."""

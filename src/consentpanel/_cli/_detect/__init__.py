"""``consentpanel detect``: where personal data is, by kinds and counts."""

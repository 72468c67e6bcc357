"""What can be done from a command line, whatever starts it: `python -m consentpanel`, or a framework's own commands."""

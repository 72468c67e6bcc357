"""The vendor's names, calls and hosts, each listed once."""

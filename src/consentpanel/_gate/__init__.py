"""The gate: judges one message. Pure."""

"""The field policy and its actions. Pure: nothing here reads or writes anything outside the message."""

from consentpanel.policy._actions import (
    Action,
    drop,
    generalize,
    keep,
    mask,
    pseudonymize,
    redact,
    refuse,
    transform,
    truncate,
)
from consentpanel.policy.fields import FieldPolicy, PolicyResult

__all__ = [
    "Action",
    "FieldPolicy",
    "PolicyResult",
    "drop",
    "generalize",
    "keep",
    "mask",
    "pseudonymize",
    "redact",
    "refuse",
    "transform",
    "truncate",
]

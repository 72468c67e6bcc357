"""The field policy and its actions. Pure: nothing here reads or writes anything outside the message."""

from consentpanel._consent.secret import from_environment
from consentpanel._exports import name_all
from consentpanel.policy._action_types import Action
from consentpanel.policy._detect.detection import Detector, Finding, detect
from consentpanel.policy._detect.matchers import KINDS
from consentpanel.policy._names import PERSONAL_NAMES
from consentpanel.policy._sensitive import SENSITIVE_NAMES
from consentpanel.policy.actions import (
    Options,
    drop,
    generalize,
    keep,
    mask,
    pseudonymize,
    redact,
    refuse,
    transform,
    truncate,
    url,
)
from consentpanel.policy.fields import FieldPolicy, PolicyResult
from consentpanel.policy.identity import Identity, per_subject, plain, pseudonymous

__all__ = [
    "KINDS",
    "PERSONAL_NAMES",
    "SENSITIVE_NAMES",
    "Action",
    "Detector",
    "FieldPolicy",
    "Finding",
    "Identity",
    "Options",
    "PolicyResult",
    "detect",
    "drop",
    "from_environment",
    "generalize",
    "keep",
    "mask",
    "per_subject",
    "plain",
    "pseudonymize",
    "pseudonymous",
    "redact",
    "refuse",
    "transform",
    "truncate",
    "url",
]

name_all(globals())

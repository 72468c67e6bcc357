"""The audit of promises as one assertion."""

from __future__ import annotations

from typing import Any

from consentpanel.client import Mixpanel
from consentpanel.policy import FieldPolicy
from consentpanel.transparency import Promises, audit


def assert_keeps_promises(target: Mixpanel | FieldPolicy, promises: Promises, **more: Any) -> None:
    """Asserts that a configuration breaks no promise of the published policy.

    Args:
        target: The client, or a policy.
        promises: What the published policy says.
        more: The other arguments of `consentpanel.transparency.audit`.

    Raises:
        AssertionError: It breaks some; the text names each place and how to mend it.

    Example:
        >>> from consentpanel import FieldPolicy, keep
        >>> assert_keeps_promises(FieldPolicy(events={"plan": keep()}), Promises(discloses_ip_address=False))
    """
    __tracebackhide__ = True
    sentences = promises.sentences()
    broken = [
        f"{breach.place}: {breach.text} Promised: {sentences.get(breach.promise, breach.promise)} {breach.mend}"
        for breach in audit(target, promises, **more)
    ]
    if broken:
        raise AssertionError("promises are broken:\n  " + "\n  ".join(broken))

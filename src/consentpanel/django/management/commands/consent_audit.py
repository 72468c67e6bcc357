"""`consent_audit` holds the configuration to what the privacy policy promises."""

from __future__ import annotations

from consentpanel._jobs import audit
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = audit.JOB

"""`consent_notice` writes the notice to visitors, or checks the one that is published."""

from __future__ import annotations

from consentpanel._jobs import notice
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = notice.JOB

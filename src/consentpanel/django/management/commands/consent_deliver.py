"""`consent_deliver` delivers what waits in an outbox or a spool."""

from __future__ import annotations

from consentpanel._jobs import spool
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = spool.DELIVER

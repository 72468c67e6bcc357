"""`consent_prune` forgets people of whom nothing was recorded for long."""

from __future__ import annotations

from consentpanel._jobs import prune
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = prune.JOB

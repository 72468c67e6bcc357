"""`consent_export` asks the vendor for all that it holds about people."""

from __future__ import annotations

from consentpanel._jobs import privacy
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = privacy.EXPORT

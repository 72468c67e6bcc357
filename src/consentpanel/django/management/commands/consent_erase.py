"""`consent_erase` records denials, and asks the vendor to delete what it holds about people."""

from __future__ import annotations

from consentpanel._jobs import privacy
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """The command."""

    job = privacy.ERASE

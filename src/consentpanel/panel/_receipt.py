"""What a person may keep: each answer, as a receipt."""

from __future__ import annotations

import json

from consentpanel._consent.records import now
from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel.errors import ConsentPanelError
from consentpanel.panel._http import PERSONAL, RefusedError, Response, answer
from consentpanel.panel._notices import Shown


def receipt_of(visit: Visit, found: Shown) -> Response:
    """The receipts of all that a person has answered, with the fields of ISO/IEC TS 27560, as a file.

    Raises:
        RefusedError: The registry failed.
    """
    try:
        known = visit.summary(())
    except ConsentPanelError as error:
        note_failure("a receipt", error)
        known = None
    if known is None:
        raise RefusedError(503, "failed", "Your answers cannot be looked up at the moment. Please try again.")
    notice = found.notice
    said = {
        "made": now().isoformat(timespec="seconds"),
        "controller": notice.controller,
        "service": notice.service,
        "recipient": notice.vendor,
        "notice_now": {"version": notice.version, "language": notice.language},
        "receipts": [record.receipt() for record in known.records],
    }
    text = json.dumps({name: each for name, each in said.items() if each is not None}, indent=2, ensure_ascii=False)
    place = ("Content-Disposition", 'attachment; filename="privacy-answers.json"')
    return answer(200, "application/json; charset=utf-8", text + "\n", *PERSONAL, place)

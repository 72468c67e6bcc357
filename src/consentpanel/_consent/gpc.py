"""Global Privacy Control (https://www.w3.org/TR/gpc/): what was said in spite of it."""

from __future__ import annotations

from collections.abc import Iterable

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus

#: The source of a denial by the signal, and what the evidence of an answer says that was given while the signal was there.
GPC = "gpc"


def is_said(values: Iterable[str]) -> bool:
    """Whether a browser says ``Sec-GPC: 1``; something between it and this server may have doubled the header, or added to it.

    Args:
        values: Those of the header, each as it came.
    """
    return any(each.partition(";")[0].strip() == "1" for value in values for each in value.split(","))


def is_in_spite(said: Iterable[ConsentRecord], purpose: Purpose) -> bool:
    """Whether the last word on a purpose is a grant that was given while, or after, the signal was there.

    Args:
        said: The records of a person, oldest first.
        purpose: The purpose.
    """
    about = [each for each in said if each.purpose == purpose]
    if not about or about[-1].status is not ConsentStatus.GRANTED:
        return False
    return about[-1].evidence.get(GPC) is True or any(each.source == GPC for each in about)

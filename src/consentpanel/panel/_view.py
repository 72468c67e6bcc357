"""What the panel shows, in words that are ready to print."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel.panel._phrases import (
    banner_text_of,
    equal_of,
    heading_of,
    held_box_of,
    in_contact,
    intro_of,
    not_all_of,
    service_of,
    version_of,
    words_of,
)
from consentpanel.panel._regimes import under
from consentpanel.panel._said import HistoryItem, RequestView, history_of, requests_of
from consentpanel.panel._shown import banner_shown, digest_of, sha256
from consentpanel.panel._situation import Situation, Urls
from consentpanel.panel._standing import PurposeView, purposes_of
from consentpanel.panel._state import state_of
from consentpanel.panel._telling import Note, held_box, is_to_be_asked, may_withdraw, notes_of
from consentpanel.transparency._notice import Notice

#: What the vendor's library in the browser sends once it may: it has one switch for events and profiles.
BROWSER_PURPOSES = (str(Purpose.ANALYTICS), str(Purpose.PROFILES))


@attrs.frozen(kw_only=True)
class View:
    """What the panel shows to one person, in words.

    Attributes:
        language: The language of the words, such as ``"de"``.
        direction: ``"ltr"`` or ``"rtl"``.
        title: What stands in the browser's tab.
        service: What the service is called.
        heading: The question of the page.
        intro: Who would like to send what to whom.
        banner: What a banner says in the place of `intro`.
        banner_shown: SHA-256 of the text of the banner, which stands in its form in the place of `shown`.
        banner_not_all: What a yes to all on a banner does not cover, because there is sensitive data in it; None for nothing.
        not_all: The same on the page.
        equal: That the service is the same, whichever the answer; None where the publisher does not say so.
        facts: Who receives it, where it is kept, for how long: pairs of a name and a text.
        notes: What has just been done, what the browser's signal does, why the person is asked again.
        purposes: One for each question.
        history: What the person has said, newest first.
        requests: What the person has asked of the vendor.
        rights: What else the person may ask for, and where.
        contact: Where to write to; empty where the notice does not say.
        complaint: To whom to complain; None where the notice does not say.
        version: The version of the notice, in words.
        notice_version: The version of the notice, as it is recorded.
        date: The date of the notice.
        shown: SHA-256 of the text of the questions, as it is recorded.
        held_box: What may be ticked beside a yes, so that it is also for what waits until then; None where nothing does.
        who: Stands in each form for the person whom the page was made for; it tells nothing about them.
        asks: Whether the person is to be asked now, as a banner does.
        can_withdraw: Whether there is something to take back.
        can_erase: Whether a deletion can be asked for here.
        can_export: Whether a copy can be asked for here.
        has_gpc: Whether the browser says ``Sec-GPC: 1``.
        is_available: Whether the person's answers could be looked up.
        statuses: What `state` gives.
        browser_purposes: The purposes that the vendor's library in the browser serves.
        urls: Where the pages are.
        words: The words of buttons and headings, by name.
    """

    language: str
    direction: str
    title: str
    service: str
    heading: str
    intro: str
    banner: str
    banner_shown: str
    banner_not_all: str | None = None
    not_all: str | None = None
    equal: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    purposes: tuple[PurposeView, ...] = attrs.field(default=(), repr=False)
    history: tuple[HistoryItem, ...] = attrs.field(default=(), repr=False)
    requests: tuple[RequestView, ...] = attrs.field(default=(), repr=False)
    rights: str
    contact: str
    complaint: str | None = None
    version: str
    notice_version: str
    date: date | None = None
    shown: str
    who: str = ""
    held_box: str | None = None
    asks: bool
    can_withdraw: bool
    can_erase: bool
    can_export: bool
    has_gpc: bool
    is_available: bool
    statuses: Mapping[str, Any] = attrs.field(repr=False)
    browser_purposes: tuple[str, ...] = BROWSER_PURPOSES
    urls: Urls
    words: Mapping[str, str] = attrs.field(repr=False)

    def state(self) -> dict[str, Any]:
        """What scripts are told: by purpose ``"granted"``, ``"denied"`` or ``"unknown"``, also of purposes that nobody is asked about.

        The key ``" sent"``, which can be no purpose's name as no such name begins with a space, lists the unknown ones for which data
        is sent all the same. It is there only where there are some.
        """
        return dict(self.statuses)

    def as_json(self) -> dict[str, Any]:
        """What the JSON API gives: every field of the view, dates and times as ISO 8601, ``facts`` as name and text.

        An answer is True, False, or None for one that was not given.
        """
        said: dict[str, Any] = attrs.asdict(self, value_serializer=_as_json)
        said["facts"] = [{"name": name, "text": text} for name, text in self.facts]
        return said


def _as_json(_: object, __: object, value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def view_of(
    notice: Notice,
    situation: Situation,
    urls: Urls,
    *,
    now: datetime,
    browser_purposes: tuple[str, ...] = BROWSER_PURPOSES,
) -> View:
    """What the panel shows.

    Args:
        notice: What is asked, and in which words.
        situation: What the person has said, and what they may do.
        urls: Where the pages are.
        now: The present moment.
        browser_purposes: The purposes that the vendor's library in the browser serves.

    Returns:
        The view; nothing of it is an answer that the person has not given.
    """
    notice = under(notice, situation.regimes)
    words, held = words_of(notice), held_box(notice, situation)
    authority = notice.authority
    purposes = tuple(purposes_of(notice, situation))
    return View(
        language=notice.language,
        direction=notice.words.direction,
        title=_title_of(notice),
        service=service_of(notice),
        heading=heading_of(notice),
        intro=intro_of(notice),
        banner=banner_text_of(notice),
        banner_shown=sha256(banner_shown(notice)),
        banner_not_all=not_all_of(notice, "banner"),
        not_all=not_all_of(notice, "choices"),
        equal=equal_of(notice),
        facts=tuple(notice.in_short),
        notes=tuple(notes_of(notice, situation, now)),
        purposes=purposes,
        history=tuple(history_of(notice, situation)),
        requests=tuple(requests_of(notice, situation)),
        rights=in_contact(notice, "panel.rights"),
        contact=notice.contact,
        complaint=notice.words("panel.complaint", authority=authority) if authority else None,
        version=version_of(notice),
        notice_version=notice.version,
        date=notice.date,
        who=situation.who,
        shown=digest_of(notice, held),
        held_box=None if held is None else held_box_of(notice, held),
        asks=is_to_be_asked(notice, situation, now),
        can_withdraw=may_withdraw(notice, situation),
        can_erase=situation.can_erase,
        can_export=situation.can_export,
        has_gpc=situation.has_gpc,
        is_available=situation.is_available,
        statuses=_statuses_of(purposes, situation),
        browser_purposes=browser_purposes,
        urls=urls,
        words=words,
    )


def _title_of(notice: Notice) -> str:
    name = notice.words("panel.footer.link")
    return notice.words("named", first=name, second=notice.service) if notice.service else name


_STATUS = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED, None: ConsentStatus.UNKNOWN}


def _statuses_of(purposes: tuple[PurposeView, ...], situation: Situation) -> dict[str, Any]:
    statuses = {each.purpose: _STATUS[each.answer] for each in purposes} | dict(situation.others)
    if not situation.is_opt_out or not situation.is_available:
        return state_of(statuses, ())
    return state_of(statuses, [*(each.purpose for each in purposes if each.is_sent), *situation.others])

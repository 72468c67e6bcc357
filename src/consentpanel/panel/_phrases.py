"""What the panel says to everybody, from the notice."""

from __future__ import annotations

from collections.abc import Iterable

from consentpanel.transparency._notice import Notice
from consentpanel.transparency._versions import short


def service_of(notice: Notice) -> str:
    """What the service is called."""
    return notice.service or notice.words("panel.service")


def heading_of(notice: Notice) -> str:
    """The question of the page."""
    name = "panel.heading" if any(use.needs_consent for use in notice.uses) else "panel.heading.opt_out"
    return notice.words(name, service=service_of(notice))


def intro_of(notice: Notice) -> str:
    """Who would like to send what to whom, and whether only with consent."""
    named = {"service": service_of(notice), "vendor": notice.vendor}
    asks = {use.needs_consent for use in notice.uses}
    if asks == {False}:
        return notice.words("panel.intro.opt_out", **named)
    if asks != {True}:
        return notice.words("panel.intro.mixed", **named)
    who = notice.controller or notice.service
    if who is None:
        return notice.words("panel.intro.we", **named)
    return notice.words("panel.intro", controller=who, **named)


def banner_text_of(notice: Notice) -> str:
    """What a banner says in the place of the introduction: who would like to send what for which uses."""
    named = {"vendor": notice.vendor, "purposes": titles_of(notice, (use.purpose for use in notice.uses))}
    if not all(use.needs_consent for use in notice.uses):
        return notice.words("panel.banner.text.mixed", **named)
    if notice.service is None:
        return notice.words("panel.banner.text.we", **named)
    return notice.words("panel.banner.text", service=notice.service, **named)


def held_box_of(notice: Notice, minutes: int) -> str:
    """What somebody may tick beside a yes where messages wait for it."""
    return notice.words("panel.held.box", minutes=str(minutes))


def sensitive_in(notice: Notice) -> tuple[str, ...]:
    """The purposes with sensitive data among what is sent: a yes to all at once is none to them."""
    return tuple(use.purpose for use in notice.uses if use.sensitive is not None)


def not_all_of(notice: Notice, where: str) -> str | None:
    """What a yes to all does not cover, on the page (``"choices"``) or a banner (``"banner"``); None where it covers all."""
    apart = sensitive_in(notice)
    if not apart or len(apart) == len(notice.uses):
        # Where there is nothing else, nothing is answered at once.
        return None
    return notice.words(f"panel.{where}.not_all", titles=titles_of(notice, apart))


def in_contact(notice: Notice, name: str, **values: str) -> str:
    """A text that says where to write to; where the notice does not say that, the one that does without it."""
    if not notice.contact:
        return notice.words(f"{name}.plain", **values)
    return notice.words(name, contact=notice.contact, **values)


def equal_of(notice: Notice) -> str | None:
    """That the service is the same, whichever the answer; None where the publisher does not say so."""
    return notice.words("panel.equal", service=service_of(notice)) if notice.works_without_consent else None


def version_of(notice: Notice) -> str:
    """The version of the notice, with its date where it has one."""
    if notice.date is None:
        return notice.words("panel.version.plain", version=short(notice.version))
    return notice.words("panel.version", version=short(notice.version), date=notice.words.date(notice.date))


def title_of(notice: Notice, purpose: str) -> str:
    """What a purpose is called; one of the past, or of somebody else's, by its name."""
    for use in notice.uses:
        if use.purpose == purpose:
            return use.title
    name = f"panel.purpose.{purpose}.title"
    return notice.words(name, vendor=notice.vendor) if notice.words.has(name) else purpose


def titles_of(notice: Notice, purposes: Iterable[str]) -> str:
    """What several purposes are called, in the order of the notice, as one list."""
    wanted = set(purposes)
    return notice.words.listed(use.title for use in notice.uses if use.purpose in wanted)


#: Words that stand on the page whatever the person has said, by the names under which a `View` has them.
WORDS = (
    "switch.on",
    "switch.off",
    "button.reject_all",
    "button.accept_all",
    "button.save",
    "notice.link",
    "details",
    "table.what",
    "table.form",
    "table.example",
    "object.text",
    "object.button",
    "withdraw.heading",
    "withdraw.text",
    "withdraw.text.plain",
    "withdraw.button",
    "history.heading",
    "history.empty",
    "receipt",
    "receipt.text",
    "erase.heading",
    "erase.text",
    "erase.button",
    "erase.kept.plain",
    "erase.confirm",
    "export.heading",
    "export.text",
    "export.button",
    "export.confirm",
    "export.link",
    "banner.more",
    "footer.link",
)


def words_of(notice: Notice) -> dict[str, str]:
    """The words of buttons, headings and sentences that are the same for everybody."""
    named = {"service": service_of(notice), "vendor": notice.vendor}
    return {
        **{name: notice.words(f"panel.{name}", **named) for name in WORDS},
        "nothing": notice.words("nothing", technical=notice.words("technical")),
        # What stands between a word and what it is about.
        "colon": notice.words("named", first="", second=""),
    }

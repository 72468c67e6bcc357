"""What everybody is asked, as a text whose digest proves it later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from consentpanel.panel._phrases import banner_text_of, equal_of, heading_of, held_box_of, intro_of, not_all_of
from consentpanel.transparency._notice import Notice
from consentpanel.transparency._page import Use
from consentpanel.transparency._printable import printable

_BUTTONS = ("switch.off", "switch.on", "button.reject_all", "button.accept_all", "button.save")


def shown(notice: Notice, held: int | None = None) -> str:
    """The text of the questions, without anything of a person: the same for all who are asked in that language.

    Args:
        notice: The notice that the panel is made from.
        held: For how many minutes messages wait, where the page has a box for them; None where it has none.

    Returns:
        One line for each thing that is said; it changes when a question, a label, a form or a reason does.
    """
    box = [] if held is None else [_line("[ ]", held_box_of(notice, held))]
    return "\n".join([*_lines(notice), *box]) + "\n"


def digest_of(notice: Notice, held: int | None = None) -> str:
    """SHA-256 of what is shown, as hexadecimal: evidence of what a person saw."""
    return sha256(shown(notice, held))


def banner_shown(notice: Notice) -> str:
    """The text of the banner, which asks less and shows less: the same for all who are asked in that language.

    Args:
        notice: As for `shown`.
    """
    apart = not_all_of(notice, "banner")
    words = (notice.words(f"panel.{name}") for name in (*_BUTTONS[2:4], "banner.more"))
    lines = [
        _line("#", notice.words("panel.footer.link")),
        _line("", banner_text_of(notice)),
        *([] if apart is None else [_line("!", apart)]),
        _line("", *words),
    ]
    return "\n".join(lines) + "\n"


def sha256(text: str) -> str:
    """A digest as evidence has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(notice: Notice) -> Iterator[str]:
    yield _line("#", heading_of(notice))
    yield _line("", intro_of(notice))
    if (equal := equal_of(notice)) is not None:
        yield _line("", equal)
    for name, text in notice.in_short:
        yield _line("-", name, text)
    for use in notice.uses:
        yield from _use(notice, use)
    yield _line("", *(notice.words(f"panel.{name}") for name in _BUTTONS))
    if (apart := not_all_of(notice, "choices")) is not None:
        yield _line("!", apart)


def _use(notice: Notice, use: Use) -> Iterator[str]:
    yield _line("##", use.title, use.purpose)
    yield _line("", use.text)
    yield _line("", use.basis)
    if use.needs_consent is False:
        yield _line("", notice.words("panel.object.text"))
    if use.sensitive:
        yield _line("!", use.sensitive)
    for entry in use.entries:
        yield _line("-", entry.label, entry.form, entry.example or "", entry.reason or "", *entry.details)


def _line(mark: str, *texts: str) -> str:
    # A bar and a backslash within a text are told from those between texts, so that no two pages read the same.
    told = (printable(text).replace("\\", "\\\\").replace("|", "\\|") for text in texts)
    return " ".join(each for each in (mark, " | ".join(told)) if each)

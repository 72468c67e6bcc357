"""A page of sections as Markdown, and as HTML that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

import attrs

from consentpanel.transparency._printable import printable

# What may mean something in a line of Markdown (CommonMark 0.31.2, section 6), and in GitHub's tables and strikethrough.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~]|&(?=\w))")
# What begins another block at the start of a line: a list, a rule, the underline of a heading (CommonMark, 4 and 5).
_BLOCK = re.compile(r"^(?:[-+=]|\d+(?=[.)]))")
_TICKS = re.compile("`+")
# Not the space that does not break, which belongs to a language.
_SPACES = re.compile(r"[ \t-\r]+")
_STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --faint: #4a4a4a; --line: #c8c8c8; --ground: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #eeeeee; --faint: #c4c4c4; --line: #555555; --ground: #16181a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
ul { list-style: none; padding: 0; }
li { padding: .6rem 0; border-bottom: 1px solid var(--line); }
li:last-child { border-bottom: 0; }
.label { font-weight: 600; }
.details, .path { color: var(--faint); font-size: .95rem; }
.path { font-family: ui-monospace, monospace; font-size: .85rem; }
@media print {
  :root { color-scheme: light; --text: #000000; --faint: #333333; --line: #999999; --ground: #ffffff; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  li { break-inside: avoid; }
}
""".strip()


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that is sent.

    Attributes:
        label: What it is.
        form: In which form it leaves.
        example: A value as it leaves; None where there is no good one.
        reason: Why it is sent; None where nobody said.
        details: When it is sent, with what exceptions, and what else it needs.
        path: Its name as the vendor knows it, where it is to be shown.
    """

    label: str
    form: str = ""
    example: str | None = None
    reason: str | None = None
    details: tuple[str, ...] = ()
    path: str | None = None


@attrs.frozen(kw_only=True)
class Use:
    """A purpose that people answer to, in words.

    Attributes:
        purpose: What is recorded: ``"analytics"``.
        title: What it is called.
        text: What is done, and why.
        basis: Whether it is asked for before, and the legal basis.
        needs_consent: Whether nothing is sent without a yes; False where people object, None where that depends on who it is.
        sensitive: That sensitive data is among it, and which; None where there is none.
        entries: What is sent.
    """

    purpose: str
    title: str
    text: str
    basis: str
    needs_consent: bool | None
    sensitive: str | None = None
    entries: tuple[Entry, ...] = ()


@attrs.frozen(kw_only=True)
class Section:
    """A part of the notice: a heading, paragraphs, and lists of entries under headings of their own."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def as_markdown(title: str, sections: Iterable[Section]) -> str:
    """The page as Markdown."""
    return "\n".join(_markdown_lines(title, sections)).rstrip() + "\n"


def _markdown_lines(title: str, sections: Iterable[Section]) -> Iterator[str]:
    yield f"# {_quoted(title)}"
    for section in sections:
        if section.heading:
            yield f"\n## {_quoted(section.heading)}"
        for paragraph in section.paragraphs:
            yield f"\n{_block(paragraph)}"
        if section.entries:
            yield ""
            yield from map(_markdown_entry, section.entries)


def _markdown_entry(entry: Entry) -> str:
    parts = [f"- **{_quoted(entry.label) or '?'}**"]
    if entry.path:
        parts.append(f"({_code(entry.path)})")
    if said := _said(entry):
        parts.append(_quoted(said))
    return " ".join(parts)


def _said(entry: Entry) -> str:
    """The details and the reason of an entry, as sentences."""
    return " ".join(_sentence(text) for text in (entry.form, ", ".join(entry.details), entry.reason) if text)


def _quoted(text: str) -> str:
    """Text within a line of Markdown, in which nothing means something else."""
    return _SPECIAL.sub(r"\\\1", _line(text))


def _block(text: str) -> str:
    """Text that begins a line of Markdown."""
    quoted = _quoted(text)
    found = _BLOCK.match(quoted)
    if found is None:
        return quoted
    at = found.end() if found[0].isdigit() else 0
    return f"{quoted[:at]}\\{quoted[at:]}"


def _code(text: str) -> str:
    """A span of code: between more ticks than stand together in it (CommonMark 0.31.2, 6.1)."""
    shown = printable(text)
    ticks = "`" * (max(map(len, _TICKS.findall(shown)), default=0) + 1)
    space = " " if shown[:1] in {"`", " "} or shown[-1:] in {"`", " "} else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def _line(text: str) -> str:
    return printable(_SPACES.sub(" ", text).strip())


def _html(text: str) -> str:
    return escape(_line(text))


# What a reader may follow: an address by HTTPS, or of e-mail. The text is escaped before, so that no quote is in it.
_ADDRESS = re.compile(
    r"https://(?:[^\s<>&;.,)]|&amp;|[.,)](?=[^\s<>&;.,)]))+|[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
    re.ASCII,
)


def _linked(escaped: str) -> str:
    return _ADDRESS.sub(
        lambda found: f'<a href="{"" if found[0].startswith("https://") else "mailto:"}{found[0]}">{found[0]}</a>',
        escaped,
    )


def _sentence(text: str) -> str:
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def as_html(title: str, sections: Iterable[Section], *, language: str, direction: str, version: str) -> str:
    """The page as HTML, in a language, with the version of the notice in its head."""
    begin = f'<html lang="{escape(language)}">' if direction == "ltr" else f'<html lang="{escape(language)}" dir="rtl">'
    return "\n".join(_html_lines(_html(title), sections, begin, version)) + "\n"


def _html_lines(title: str, sections: Iterable[Section], begin: str, version: str) -> Iterator[str]:
    yield "<!doctype html>"
    yield begin
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta name="consentpanel-notice" content="{escape(version)}">'
    yield f"<title>{title}</title>"
    yield f"<style>\n{_STYLE}\n</style>"
    yield "</head>"
    yield "<body>\n<main>"
    yield f"<h1>{title}</h1>"
    for number, section in enumerate(sections):
        is_named = bool(section.heading)
        yield f'<section aria-labelledby="part-{number}">' if is_named else "<section>"
        if is_named:
            yield f'<h2 id="part-{number}">{_html(section.heading)}</h2>'
        for paragraph in section.paragraphs:
            yield f"<p>{_linked(_html(paragraph))}</p>"
        if section.entries:
            yield "<ul>"
            yield from map(_html_entry, section.entries)
            yield "</ul>"
        yield "</section>"
    yield "</main>\n</body>\n</html>"


def _html_entry(entry: Entry) -> str:
    parts = [f'<span class="label">{_html(entry.label)}</span>']
    if entry.path:
        parts.append(f'<code class="path">{escape(printable(entry.path))}</code>')
    if said := _said(entry):
        parts.append(f'<div class="details">{_html(said)}</div>')
    return f"<li>{' '.join(parts)}</li>"

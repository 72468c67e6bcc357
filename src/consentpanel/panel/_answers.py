"""What a form or a program answers, and to which text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from consentpanel.panel._http import RefusedError, Request, fields_of

#: The type of a form.
FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_PREFIX = "answer."
#: The box for what has waited.
COVERS_HELD = "covers_held"
#: What names a version, a language or a digest; longer ones are none of ours.
_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
_WORDS = {"yes": True, "no": False}


def _malformed(text: str) -> RefusedError:
    return RefusedError(400, "malformed", f"{text} Nothing was saved.")


@attrs.frozen(kw_only=True)
class Given:
    """An answer, before it is held against the page.

    Attributes:
        version: The version of the notice that was shown.
        language: Its language.
        shown: The digest of the text that was shown.
        who: The mark of the person to whom it was shown.
        answers: Yes or no by purpose.
        all: Yes or no to all; None where each was answered by itself.
        covers_held: Whether a yes is also for what has waited for it.
    """

    version: str
    language: str
    shown: str
    who: str
    answers: Mapping[str, bool] = attrs.field(factory=dict)
    all: bool | None = None
    covers_held: bool = False

    @property
    def has_yes(self) -> bool:
        """Whether anything is answered by yes."""
        return self.all is True or (self.all is None and any(self.answers.values()))

    @property
    def has_no(self) -> bool:
        """Whether anything is answered by no."""
        return self.all is False or (self.all is None and not all(self.answers.values()))

    def without_yes(self) -> Given:
        """What is answered by no alone."""
        return attrs.evolve(self, answers={each: said for each, said in self.answers.items() if not said})

    def noes(self, purposes: Collection[str], known: Collection[str]) -> list[str]:
        """What is answered by no: of all that is asked, or by name also of what is known and no more asked."""
        if self.all is True:
            return []
        if self.all is False:
            return [*dict.fromkeys((*purposes, *(each for each in self.answers if each in known)))]
        return [each for each, said in self.answers.items() if not said and (each in purposes or each in known)]

    def said_to(self) -> dict[str, str]:
        """The text that an answer names, as far as its words can be some: nobody has looked whether there was such a text."""
        named = {"notice": self.version, "language": self.language, "shown": self.shown}
        return {name: each for name, each in named.items() if _NAMES.fullmatch(each)}

    def to(self, purposes: Collection[str], apart: Collection[str] = ()) -> dict[str, bool]:
        """The answers to the purposes of a page.

        Args:
            purposes: What is asked.
            apart: What a yes to all is no yes to.

        Raises:
            RefusedError: One is to something else.
        """
        if any(each not in purposes for each in self.answers):
            raise _malformed("An answer is to something that is not asked.")
        if self.all is None:
            return dict(self.answers)
        at_once = (each for each in purposes if each in self.answers or not (self.all and each in apart))
        return dict.fromkeys(at_once, self.all)


def given_in(request: Request) -> Given:
    """The answer that a request brings.

    Raises:
        RefusedError: It is malformed, or of another type.
    """
    found = _of_json(object_in(request)) if request.is_json else _of_form(request)
    # No to all is what its button says, also in a form of one's own in which answers of before are ticked.
    if found.all and not all(found.answers.values()):
        raise _malformed("A yes to all stands beside a no.")
    return found


def named_in(request: Request) -> Given | None:
    """The text that the form of a withdrawal or a request names; None where it names none that can be read: it is heeded all the same."""
    try:
        return given_in(request)
    except RefusedError:
        return None


def who_in(request: Request) -> str:
    """To whom the page was shown from which something is asked; empty where it does not say.

    Raises:
        RefusedError: It is malformed, or of another type.
    """
    if request.is_json:
        who = object_in(request).get("who", "")
        if not isinstance(who, str):
            raise _malformed("who must be a text.")
        return who
    fields = fields_of(request.body.decode("utf-8", "replace")) if request.content_type == FORM else None
    return dict(fields or ()).get("who", "")


def _of_form(request: Request) -> Given:
    if request.content_type != FORM:
        raise RefusedError(415, "wrong_type", f"The form must be sent as {FORM}. Nothing was saved.")
    try:
        fields = fields_of(request.body.decode("utf-8"))
    except UnicodeDecodeError:
        fields = None
    if fields is None:
        raise _malformed("The form cannot be read.")
    said: dict[str, str] = {}
    for name, value in fields:
        # Two answers to one question are none; of a framework's own fields there may be several.
        if said.setdefault(name, value) != value and (name.startswith(_PREFIX) or name in {*_WHAT, "all", COVERS_HELD}):
            raise _malformed("One question is answered twice.")
    answers = {name[len(_PREFIX) :]: _word(value) for name, value in said.items() if name.startswith(_PREFIX)}
    shown = {name: said.get(name, "") for name in _WHAT}
    everything = _word(said["all"]) if "all" in said else None
    covers_held = COVERS_HELD in said and _word(said[COVERS_HELD])
    return Given(**shown, answers=answers, all=everything, covers_held=covers_held)


_WHAT = ("version", "language", "shown", "who")


def _word(value: str) -> bool:
    if value not in _WORDS:
        raise _malformed("An answer is neither yes nor no.")
    return _WORDS[value]


def object_in(request: Request) -> Mapping[str, Any]:
    """The JSON object that a request brings.

    Raises:
        RefusedError: It is none, or is not said to be: no page of another site can send that type unasked
            (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
    """
    if request.content_type != _JSON:
        raise RefusedError(415, "wrong_type", f"The Content-Type must be {_JSON}. Nothing was saved.")
    try:
        said = json.loads(request.body or b"{}", object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _malformed("The body must be an object of JSON, each name in it once.")
    return said


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _of_json(said: Mapping[str, Any]) -> Given:
    if not said.keys() <= {*_IN_JSON, "answers", "all", COVERS_HELD}:
        raise _malformed("There is a field that means nothing.")
    shown = {field: said.get(name, "") for name, field in _IN_JSON.items()}
    answers, everything, held = said.get("answers", {}), said.get("all"), said.get(COVERS_HELD, False)
    if not all(isinstance(each, str) for each in shown.values()) or not isinstance(answers, dict):
        raise _malformed("notice_version, language, shown and who must be texts, and answers an object.")
    if not all(isinstance(each, bool) for each in answers.values()) or not isinstance(everything, (bool, type(None))):
        raise _malformed("An answer is neither true nor false.")
    if not isinstance(held, bool):
        raise _malformed("covers_held is neither true nor false.")
    return Given(**shown, answers=answers, all=everything, covers_held=held)


#: As a view of the panel names them, so that a program sends back what it was given.
_IN_JSON = {"notice_version": "version", "language": "language", "shown": "shown", "who": "who"}

"""Tools that keep their answers where no server sees them (Usercentrics, Osano): a script of the page posts them.

The body is JSON, as the script writes it::

    {"answers": {"<group>": true}, "isExplicit": true, "givenAt": "2026-09-22T08:15:00.000Z", "consentId": "<id>"}

``answers`` has a Boolean for each group of the tool that was answered. ``isExplicit`` says that the person has done something: what is on before
that is no answer. ``givenAt`` is `Date.prototype.toISOString` of the time of the answer, and ``consentId`` the tool's id of it; both may be missing.

Sources: https://docs.usercentrics.com (browser UI, API), https://docs.osano.com (consent manager, JavaScript API).
"""

from __future__ import annotations

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._header import MAX_VALUE
from consentpanel.cmp._reader import Groups, by_group, named_by_texts, text_or_none, together
from consentpanel.cmp._values import Odd, consent_id, json_object, language_tag, moment, truth
from consentpanel.errors import ConfigurationError

_KEYS = frozenset({"answers", "isExplicit", "givenAt", "consentId", "language"})


def _source(_: object, __: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError("source must be the name of the tool, such as 'usercentrics'")


@attrs.frozen
class Relay:
    """Reads what a script of the page has posted, for `relay` of a request's consent.

    Args:
        groups: From the tool's groups, as the script names them, to purposes; of several for one purpose all must be allowed.
        source: The tool, as records name it.
        language: The language that the tool speaks on this site, where the script does not post it; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = Relay({"ANALYTICS": "analytics"}, source="osano")
        >>> read(b'{"answers": {"ANALYTICS": true}, "isExplicit": true}').purposes
        {Purpose('analytics'): True}
    """

    groups: Groups = attrs.field(converter=by_group, hash=False, validator=named_by_texts)
    source: str = attrs.field(kw_only=True, validator=_source)
    language: str | None = attrs.field(default=None, kw_only=True, validator=text_or_none)

    def __call__(self, body: str | bytes | None) -> Answers:
        """What a body says.

        Args:
            body: The body of the request.

        Returns:
            The `Answers`; whatever the body holds, this raises nothing.
        """
        try:
            return self._read(body)
        except ValueError:
            # What a body is that cannot be read, is nobody's business.
            return Answers(together(self.groups, {}))

    def _read(self, body: str | bytes | None) -> Answers:
        if body is None or len(body) > MAX_VALUE:
            raise Odd
        text = body.decode() if isinstance(body, bytes) else body
        fields = json_object(text.strip())
        said = fields.get("answers")
        if not isinstance(said, dict) or not fields.keys() <= _KEYS:
            raise Odd
        is_explicit = truth(fields.get("isExplicit"))
        # A no is heeded, whoever has given it.
        answers = {
            group: True if (is_on := truth(each)) and is_explicit else None if is_on else False
            for group, each in said.items()
        }
        return Answers(
            together(self.groups, answers),
            is_explicit=is_explicit,
            given_at=None if fields.get("givenAt") is None else moment(fields["givenAt"]),
            consent_id=None if fields.get("consentId") is None else consent_id(fields["consentId"]),
            language=self.language if fields.get("language") is None else language_tag(fields["language"]),
        )

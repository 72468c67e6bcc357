"""The words of a notice: English here, other languages in gettext catalogues, and a user's own above both."""

from __future__ import annotations

import gettext
import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from types import MappingProxyType

from consentpanel.errors import ConfigurationError

_BRACES = re.compile(r"\{(\w+)\}")
LANGUAGES = ("en", "de", "fr")
DOMAIN = "consentpanel"

#: The texts by their names; what stands in braces is filled in.
TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "title": "What we share with {vendor}",
        "intro": (
            "We use {vendor} to understand how our service is used. This page is written from the settings that are in"
            " force, and says what leaves our systems, why, and what you can do about it."
        ),
        "version": "Version of this notice: {version}",
        "purpose.analytics": "Usage statistics",
        "purpose.profiles": "Your profile at {vendor}",
        "purpose.feature_flags": "Trying out features",
        "purpose.none": "What names no person",
        "purpose.other": "{purpose}",
        "why": "Why: {why}",
        "basis.opt_in": "Only if you have agreed to it. Without your consent nothing of it is sent.",
        "basis.opt_out": "Unless you object. When you have objected, nothing of it is sent.",
        "basis.by_region": (
            "Only if you have agreed to it, where the law asks for that; elsewhere unless you object. When you have said"
            " no, nothing of it is sent."
        ),
        "basis.none": "This describes groups such as companies, and names no person.",
        "collected": "What is sent",
        "nothing": "Nothing is sent for this purpose.",
        "event.any": "with what you do in our service",
        "event.one": "with the action “{event}”",
        "event.except": "but not with “{events}”",
        "scope.people": "in your profile",
        "scope.groups": "in the profile of a group",
        "scope.flags": "when a feature is chosen for you",
        "also_needs": "only if you have also agreed to: {purpose}",
        "except": "without {paths}",
        "names_of_actions": "The names of the things you do in our service, such as “Order placed”.",
        "names_of_planned": "The names of these actions and of no other: {events}",
        "technical": "With every message",
        "technical.id": "your id",
        "technical.device": "an id of your device, where our service knows one",
        "technical.time": "the time",
        "technical.number": "a number for the message, so that it is counted once",
        "technical.library": "the name and version of the library that sends it",
        "technical.token": "the number of our project at {vendor}",
        "technical.group": "the name of the group",
        "technical.variant": "which variant of a feature you were shown, and how long it took to find out",
        "form.as_is": "as it is",
        "form.deep": "with everything in it",
        "form.parts": "without the parts that may say who you are",
        "form.computed": "in a form that we compute from it",
        "form.generalized": "in a coarser form",
        "form.shortened": "shortened",
        "form.masked": "mostly hidden",
        "form.pseudonymous": "replaced by a code",
        "form.replaced": "replaced by a fixed text",
        "who": "Who receives it",
        "who.text": "{vendor} receives it and works for us as a service provider. The data is kept in: {region}.",
        "region.US": "the United States",
        "region.EU": "the European Union",
        "region.IN": "India",
        "retention.days": "It is kept for {days} days.",
        "retention.unknown": "Ask us how long it is kept.",
        "identity.plain": "{vendor} knows you by the id that our service gave you.",
        "identity.pseudonymous": (
            "{vendor} knows you by a code that we compute from your id. It does not know the id; we could compute the code"
            " again."
        ),
        "identity.per_subject": (
            "{vendor} knows you by a random code. When we delete our note of it, nobody can tell any more which data is"
            " yours."
        ),
        "targeting.yes": "What you do is used to choose what you are shown or offered.",
        "targeting.no": "What you do is not used to choose advertising or offers for you.",
        "cookies.yes": "Cookies are used for this.",
        "cookies.no": "No cookies are used for this: our server sends the messages.",
        "ip.no": "Your IP address is not sent.",
        "ip.coarse": "Your IP address is sent in a coarser form.",
        "ip.yes": "Your IP address is sent.",
        "detectors": (
            "When e-mail addresses, telephone numbers, card numbers or the like happen to stand in what is sent, they are"
            " removed before it leaves."
        ),
        "detectors.but": (
            "When e-mail addresses, telephone numbers, card numbers or the like happen to stand in what is sent, they are"
            " removed before it leaves, but for these: {paths}"
        ),
        "choices": "What you can do",
        "choices.opt_in": "You can agree or not, and take your consent back at any time. Nothing else depends on it.",
        "choices.opt_out": "You can object at any time.",
        "choices.no": "When you say no, what still waits is thrown away, and nothing new is sent.",
        "choices.held": (
            "What you do before you have answered waits for at most {minutes} min. It is sent only if you then agree to"
            " that as well; otherwise it is deleted."
        ),
        "choices.erase": "You can have the data at {vendor} deleted, and get a copy of it.",
        "choices.contact": "Write to us: {contact}",
        "category.user.name": "name",
        "category.user.contact.email": "e-mail address",
        "category.user.contact.phone_number": "telephone number",
        "category.user.contact.address": "postal address",
        "category.user.contact.address.postal_code": "postal code",
        "category.user.location.precise": "exact place",
        "category.user.demographic.date_of_birth": "date of birth",
        "category.user.demographic": "facts about you, such as age or gender",
        "category.user.demographic.profile": "views and orientation",
        "category.user.health_and_medical": "health",
        "category.user.government_id": "official number",
        "category.user.financial": "bank or card details",
        "category.user.unique_id": "user name or account number",
        "category.user.device.ip_address": "IP address",
        "category.user.device.device_id": "number of your device",
        "category.user.device.cookie_id": "cookie or session number",
        "category.user.authorization.credentials": "password or key",
        "category.user.content": "picture or text of yours",
        "category.user.behavior": "what you do in our service",
        "category.user.behavior.purchase_history": "what you buy",
    }
)


class Words:
    """The texts of one language.

    Args:
        language: ``"en"``, ``"de"`` or ``"fr"``.
        own: Texts that take the place of these, by their names in `TEXTS`.

    Raises:
        ConfigurationError: There is no such language, or no text of such a name.
    """

    def __init__(self, language: str, own: Mapping[str, str] | None = None) -> None:
        if language not in LANGUAGES:
            raise ConfigurationError(f"language must be one of {', '.join(LANGUAGES)}")
        self._own = dict(own or {})
        for name, text in self._own.items():
            if name not in TEXTS or not isinstance(text, str):
                raise ConfigurationError(f"texts[{name!r}]: the names are those of consentpanel.transparency.TEXTS")
        self._translated = _translations(language)

    def __call__(self, name: str, **values: str) -> str:
        """The text of that name, filled in."""
        text = self._own.get(name) or self._translated.gettext(TEXTS[name])
        # At once, so that what is filled in is not filled in itself.
        return _BRACES.sub(lambda found: values.get(found[1], found[0]), text)

    def purpose(self, purpose: str, vendor: str) -> str:
        """A purpose in words; one of the application's own by its name."""
        name = f"purpose.{purpose}"
        return self(name if name in TEXTS else "purpose.other", purpose=purpose, vendor=vendor)

    def category(self, category: str) -> str:
        """A category of personal data in words; one without words by its name."""
        name = f"category.{category}"
        return self(name) if name in TEXTS else category


def _translations(language: str) -> gettext.NullTranslations:
    if language == "en":
        return gettext.NullTranslations()
    with as_file(files("consentpanel.transparency") / "locale") as directory:
        return gettext.translation(DOMAIN, directory, [language])

"""The published dictionary of names that personal properties have, with the kind of data that each names.

Categories are those of the Fides taxonomy of data categories (fideslang 3, https://ethyca.github.io/fideslang/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from consentpanel._mixpanel.names import PERSONAL

_BY_CATEGORY = {
    "user.name": (
        "name, first name, name first, name last, last name, full name, given name, family name, middle name, surname, forename, maiden name,"
        " display name, user full name, customer name, contact name, real name, legal name, initials, salutation"
    ),
    "user.contact.email": (
        "email, e mail, mail, email id, email address, e mail address, mail address, user email, primary email, recovery email,"
        " contact email, recipient, reply to"
    ),
    "user.contact.phone_number": (
        "phone, telephone, tel, mobile, cell, cellphone, fax, phone number, telephone number, mobile number, mobile phone,"
        " cell phone, fax number, msisdn, whatsapp, phone no, mobile no, tel no, fax no"
    ),
    "user.contact.address": (
        "address, street, street address, address line, address line 1, address line 2, address 1, address 2, line 1,"
        " line 2, addr, house number, postal address, billing address, shipping address, delivery address, home address"
    ),
    "user.contact.address.postal_code": "zip, zip code, zipcode, postal code, postcode, post code, plz",
    "user.location.precise": "latitude, longitude, lat, lng, lon, coordinates, geo location, gps",
    "user.demographic.date_of_birth": (
        "dob, birthday, birth date, birthdate, date of birth, born, birth day, birth year, year of birth"
    ),
    "user.demographic": "age, gender, sex, pronouns, ethnicity, race, nationality, religion, marital status",
    "user.demographic.profile": "sexual orientation, political opinion, trade union",
    "user.health_and_medical": "diagnosis, medication, allergies, disability, blood type, patient, patient id",
    "user.government_id": (
        "ssn, ssn last4, ssn last 4, social security number, social security, passport, passport number, national id, tax id, tax number, vat id,"
        " driver license, driving licence, license plate, nin, nhs number, aadhaar, pesel, dni, personnummer"
    ),
    "user.financial": (
        "iban, iban no, bic, account number, account no, card no, card last4, card last 4, bank account, card number, credit card, cc number, card holder, cvv, cvc, salary,"
        " income"
    ),
    "user.unique_id": (
        "user name, username, login, user login, nickname, nick, handle, screen name, user id, userid, uid, customer id,"
        " client id, visitor id, member id, account id, person id, employee id, twitter, instagram, facebook id, linkedin, telegram"
    ),
    "user.device.ip_address": "ip, ip address, ip addr, client ip, remote ip, peer ip, source ip, remote addr, remote address, x forwarded for, user ip",
    "user.device.device_id": "device id, idfa, idfv, gaid, device uuid, device fingerprint, browser fingerprint, fingerprint,"
    " advertising id, imei, mac address, android id, udid",
    "user.device.cookie_id": "cookie, session id, session, sid, ga client id, fbclid, gclid",
    "user.authorization.credentials": (
        "password, passwd, pwd, pass, passphrase, pin, token, access token, refresh token, id token, auth token, session token, auth,"
        " api key, apikey, secret, client secret, jwt, otp, signature, sig, credentials, authorization"
    ),
    "user.content": "avatar, avatar url, photo url, photo, picture, portrait, profile picture, selfie, bio, about me",
}
#: Words that name personal data, in lower case with spaces, and the category of each.
PERSONAL_NAMES: Mapping[str, str] = MappingProxyType(
    {name: category for category, names in _BY_CATEGORY.items() for name in re.split(r",\s*", names)}
)

# Capitals in a row (`IP`), a word with or without one (`Address`, `address`), digits, or letters beyond ASCII.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_CAPITALS = re.compile("[A-Z]{3,}")
_SQUASHED = {name.replace(" ", ""): category for name, category in PERSONAL_NAMES.items()}
# Nobody names a property so: a text in the place of a name costs nothing, and may hold anything.
_LONGEST_NAME = 256
# In the plural most often how many there were.
_COUNTED = frozenset("sessions tokens cells pins passes cookies ages races streets patients recipients logins".split())
# The longest names of the dictionary have three words, and a spelling may split one of them.
_MOST_WORDS = 4
# Alone they are personal; behind another word they are most often a thing's: `plan_name`, `page_address`, `event_age`.
_ONLY_ALONE = frozenset(
    "name mail address age line1 line2 pass pin session born sex race photo picture about handle cell street tel bio"
    " recipient token secret auth sig signature initials cookie nick lat lon lng gps uid sid ip zip income patient namefirst namelast".split()
)
_PEOPLE = frozenset(
    "user customer client person people member visitor subscriber contact owner author sender recipient patient student"
    " employee account profile billing shipping delivery home my guest buyer seller".split()
)


def words_of(name: str) -> list[str]:
    """The words of a name in any spelling, in lower case.

    Example:
        >>> words_of("userEmail"), words_of("e-mail"), words_of("DateOfBirth")
        (['user', 'email'], ['e', 'mail'], ['date', 'of', 'birth'])
    """
    return [word.casefold() for word in _WORD.findall(name[-_LONGEST_NAME:])]


def category_of(name: str) -> str | None:
    """The kind of personal data that a property's name names, or None.

    A name counts in any spelling, in the plural and with a number behind it, and with the words of whom or what it is
    about before it; one of more than 256 characters in any case, for it may hold anything.

    Example:
        >>> [category_of(name) for name in ("e-mail", "userEmails", "dob", "plan_name", "$first_name_2")]
        ['user.contact.email', 'user.contact.email', 'user.demographic.date_of_birth', None, 'user.name']
    """
    if len(name) > _LONGEST_NAME:
        return "user"
    words = words_of(name)
    found = _category_of(words)
    while found is None and words and words[-1].isdigit():
        del words[-1]
        found = _category_of(words)
    if found is None and words and words[-1].endswith("s") and words[-1] not in _COUNTED:
        for plural in ("s", "es"):
            found = found or _category_of([*words[:-1], words[-1].removesuffix(plural)])
    # In capitals with a small word behind (`SSNlast4`) the last capital is the small word's, or not.
    capitals = (each.casefold() for each in _CAPITALS.findall(name))
    return found or next((_SQUASHED[each] for each in capitals if each in _SQUASHED and each not in _ONLY_ALONE), None)


def _category_of(words: list[str]) -> str | None:
    whole = _SQUASHED.get("".join(words))
    if whole is not None:
        return whole
    for count in range(min(_MOST_WORDS, len(words) - 1), 0, -1):
        ending = "".join(words[-count:])
        if ending in _SQUASHED and (ending not in _ONLY_ALONE or words[-count - 1] in _PEOPLE):
            return _SQUASHED[ending]
    return None


def is_personal_name(name: str) -> bool:
    """Whether a property is personal by its name: by the dictionary, or as one of the vendor's own."""
    return name in PERSONAL or category_of(name) is not None


def is_personal_below(above: str, key: str) -> bool:
    """Whether a key is personal by its name: alone, or together with the end of what stands above it.

    Example:
        >>> [is_personal_below("birth", key) for key in ("date", "place")], is_personal_below("order", "date")
        ([True, False], False)
    """
    half = _LONGEST_NAME // 2 - 1
    return is_personal_name(key) or category_of(f"{above[-half:]} {key[:half]}") is not None


_HARMLESS_PARAMETERS = frozenset(("age", "gender", "sex", "race", "born", "line1", "line2", "gclid", "fbclid"))
_CREDENTIALS = frozenset(
    "password passwd pwd token secret apikey jwt otp session sessionid signature credentials".split()
)


def is_personal_parameter(name: str) -> bool:
    """Whether a parameter of a URL is personal by its name.

    Example:
        >>> [is_personal_parameter(name) for name in ("user[email]", "utm_source", "csrf_token", "sort", "phpsessid")]
        [True, False, True, False, True]
    """
    words = words_of(name)
    if not words or words[0] == "utm" or "".join(words) in _HARMLESS_PARAMETERS:
        return False
    while len(words) > 1 and words[-1].isdigit():
        del words[-1]
    squashed = "".join(words)
    return words[-1] in _CREDENTIALS or squashed.endswith(("sessid", "sessionid")) or category_of(name) is not None

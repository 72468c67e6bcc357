"""The English words for forms of values, kinds of data, changes, dates, periods and lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: By names.
VALUE_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "form.keep": "exactly as it is",
        "form.keep.one_of": "exactly as it is; possible are: {values}",
        "form.keep.type.int": "exactly as it is; only a whole number",
        "form.keep.type.float": "exactly as it is; only a number",
        "form.keep.type.bool": "only yes or no",
        "form.keep.deep": "exactly as it is, with everything that is inside it",
        "form.redact": "not sent; we only send the word “{text}” in its place",
        "form.mask": "hidden, except for at most the last {n} characters",
        "form.mask.email": "hidden, except for what stands after the @",
        "form.mask.none": "hidden completely",
        "form.truncate": "only the first {n} characters",
        "form.truncate.one": "only the first character",
        "form.generalize.time.day": "only the day, without the time of day",
        "form.generalize.time.month": "only the month and year",
        "form.generalize.time.year": "only the year",
        "form.generalize.bucket": "only roughly, in steps of {width}",
        "form.generalize.ip": "only its first part, which many connections share",
        "form.generalize.decimals.coordinate": "rounded, to about {distance}",
        "form.generalize.decimals.number": "rounded to {n} decimal places",
        "form.generalize.decimals.none": "rounded to a whole number",
        "form.generalize.bands.age": "only your age group, such as {example}",
        "form.generalize.bands": "only a range, such as {example}",
        "form.pseudonymize": (
            "as a code in its place, always the same one for the same value; we can find out what it stands for, "
            "{vendor} cannot"
        ),
        "form.url": "only the page address; what follows the question mark is left out, except: {params}",
        "form.url.none": "only the page address, without what follows the question mark",
        "form.url.ids": (
            "only the page address; numbers, codes and e-mail addresses in it become a star, other words stay; what "
            "follows the question mark is left out, except: {params}"
        ),
        "form.url.ids.none": (
            "only the page address; numbers, codes and e-mail addresses in it become a star, other words stay; what "
            "follows the question mark is left out"
        ),
        "detect.off": "we do not check what it says",
        "identity.plain": "{vendor} gets the same ID that we use for you, so we can both tell that the data is yours.",
        "identity.pseudonymous": (
            "{vendor} gets a code instead of your ID. We can work the code out again and so find your data; {vendor} "
            "cannot."
        ),
        "identity.per_subject": (
            "{vendor} gets a random code instead of your ID. If we delete our key to it, we can no longer link the "
            "code to you."
        ),
        "form.url.fragment": "and also what follows the # sign",
        "form.computed": "not the value itself, but something we work out from it",
        "form.mask.one": "hidden, except for at most the last character",
        "form.generalize.time.hour": "only the date and the hour",
        "form.generalize.decimals.one": "rounded to one decimal place",
        "form.and": "{form}; {more}",
        "named": "{first}: {second}",
        "category.user.name": "your name",
        "category.user.contact.email": "your e-mail address",
        "category.user.contact.phone_number": "your telephone number",
        "category.user.contact.address": "your postal address",
        "category.user.contact.address.postal_code": "your postcode",
        "category.user.location.precise": "your exact position",
        "category.user.demographic.date_of_birth": "your date of birth",
        "category.user.demographic": "facts about you, such as age or gender",
        "category.user.demographic.profile": "political opinions, trade union, sexual orientation",
        "category.user.health_and_medical": "your health",
        "category.user.government_id": "number of an official document, such as passport or tax",
        "category.user.financial": "your bank or card details",
        "category.user.unique_id": "your user name or customer number",
        "category.user.device.ip_address": "your internet address (IP address)",
        "category.user.device.device_id": "an ID of your device",
        "category.user.device.cookie_id": "an ID in a cookie, or of your visit",
        "category.user.authorization.credentials": "a password or key of yours",
        "category.user.content": "a picture or text of yours",
        "category.user.behavior": "what you do in our service",
        "category.user.behavior.purchase_history": "what you buy",
        "change.purpose.new": "a new use: {purpose}",
        "change.purpose.gone": "no longer a use: {purpose}",
        "change.purpose.why": "another reason for: {purpose}",
        "change.item.new": "now also sent: {what}",
        "change.item.gone": "no longer sent: {what}",
        "change.item.form": "sent in another form: {what}",
        "change.item.reason": "another reason for sending: {what}",
        "change.regime.opt_in": "sent only with your consent now",
        "change.regime.opt_out": "now sent unless you object",
        "change.recipient": "another recipient: {vendor}",
        "change.region": "another place of storage: {region}",
        "change.retention": "another time of storage: {period}",
        "change.identity": "another kind of ID for you",
        "change.unsaid": "not said",
        "change.other": "other parts of the notice",
        "quoted": "“{text}”",
        "date": "{day} {month} {year}",
        "date.first": "1 {month} {year}",
        "time": "{date}, {hour}:{minute} (universal time, UTC)",
        "month.1": "January",
        "month.2": "February",
        "month.3": "March",
        "month.4": "April",
        "month.5": "May",
        "month.6": "June",
        "month.7": "July",
        "month.8": "August",
        "month.9": "September",
        "month.10": "October",
        "month.11": "November",
        "month.12": "December",
        "list.and": "{first} and {last}",
        "list.comma": "{first}, {next}",
        "part": "{whole} ({part})",
        "period.days.one": "{count} day",
        "period.days.many": "{count} days",
        "period.months.one": "{count} month",
        "period.months.many": "{count} months",
        "period.years.one": "{count} year",
        "period.years.many": "{count} years",
        "language.name": "English",
    }
)

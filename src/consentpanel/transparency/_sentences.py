"""The English sentences of a notice."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: The frame of a notice, and what it says of publisher, recipient and law, by names.
SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "title": "What we send to {vendor}",
        "intro": (
            "We send data to {vendor}. The list of what is sent is made from the settings of our servers. This page says "
            "what we send, why, who receives it, and what you can do."
        ),
        "version": "Notice {version}, valid from {date}",
        "version.plain": "Notice {version}",
        "purpose.analytics": "Measuring how you use our service",
        "purpose.profiles": "A profile of you at {vendor}",
        "purpose.feature_flags": "Trying out new features",
        "purpose.none": "About groups, such as companies",
        "purpose.other": "{purpose}",
        "why": "Why: {why}",
        "basis.opt_in": (
            "We send this only with your consent. As long as you have not said yes, we send none of it. {legal_basis}"
        ),
        "basis.opt_out": "We send this unless you object. {legal_basis} You can object at any time: {objection}",
        "basis.opt_out.plain": "We send this unless you object. {legal_basis} You can object at any time.",
        "basis.by_region": (
            "In these countries and regions we send this unless you object: {opt_out_regions}. Everywhere else we "
            "send it only with your consent. Once you have said no, we send none of it. {legal_basis}"
        ),
        "basis.by_rule": (
            "Depending on where you are and who you are, we send this only with your consent, or unless you object. Once you "
            "have said no, we send none of it. {legal_basis}"
        ),
        "basis.none": (
            "This describes groups, such as companies. It is sent whatever you answer; it may point to you if you are "
            "alone in a group."
        ),
        "nothing": "For this we send only what is listed under “{technical}”.",
        "event.one": "when you do this: “{event}”",
        "event.except": "but not when you do one of these: {events}",
        "scope.people": "in your profile",
        "scope.groups": "in the profile of a group",
        "scope.flags": "when a version of a feature is chosen for you",
        "also_needs": "only if you have also said yes to: {purpose}",
        "except": "without {paths}",
        "names_of_actions": "which actions you take",
        "names_of_planned": "that you did one of these things, and nothing else: {events}",
        "sensitive": "This includes sensitive data: {categories}.",
        "sensitive.asked": (
            "This includes sensitive data: {categories}. We send it only if you expressly say yes to it."
        ),
        "technical": "What goes along whenever we send something",
        "technical.id": "an ID by which you are recognised",
        "technical.device": "an ID for your device or browser, where our service knows one",
        "technical.time": "the date and time",
        "technical.number": "a number for this message, so that it is counted only once",
        "technical.library": "the name and version of the software that sends it (not about you)",
        "technical.token": "the number of our project at {vendor} (not about you)",
        "technical.group": "for a group, such as a company: which group it is",
        "technical.variant": (
            "which version of a feature you saw, whether you are one of our testers, and technical details of how the "
            "version was chosen"
        ),
        "who": "Who receives it",
        "who.text": "{vendor} receives the data. {role}",
        "who.region": "Stored in: {region}.",
        "region.US": "United States",
        "region.EU": "European Union",
        "region.IN": "India",
        "retention.days": "After {period}, {vendor} deletes the record of what you did.",
        "retention.profiles": "Your profile stays until {criterion}.",
        "targeting.yes": "We use this data to choose what you are shown or offered.",
        "targeting.no": "We do not use this data to choose what you are shown or offered.",
        "cookies.yes": (
            "Your ID is in a cookie, a small file on your device. It is called “{name}” and stays for {period}."
        ),
        "cookies.some": "We store your ID on your device, in a cookie.",
        "cookies.no": "For this we store and read nothing on your device.",
        "browser": (
            "Your browser also sends data to {vendor} directly; {vendor} sees your IP address then. This page describes "
            "only what our servers send."
        ),
        "ip.no": "We do not send your IP address.",
        "ip.coarse": "Of your IP address we send only the first part, which many connections share.",
        "ip.yes": "We send your IP address.",
        "detectors": (
            "Before we send the data, we look in it for e-mail addresses, telephone and card numbers and the like, "
            "and take out those we recognise. We do not recognise all: names in a text, for example, stay."
        ),
        "detectors.but": (
            "Before we send the data, we look in it for e-mail addresses, telephone and card numbers and the like, "
            "and take out those we recognise. We do not recognise all: names in a text, for example, stay. We do not "
            "look into these: {paths}."
        ),
        "choices": "What you can do",
        "choices.opt_in": "You can say yes or no, and withdraw your consent at any time: {choice_url}",
        "choices.opt_out": "You have the right to object at any time, without giving a reason: {objection}",
        "choices.no": (
            "When you say no to a use, we send nothing more about you for it and discard what has not left yet. Only "
            "what takes data away still goes, with your ID. What was sent before stays lawful and stays at {vendor} "
            "until it is deleted."
        ),
        "choices.kept": ("When you answer, we keep the answer for {period}, so that we can prove it and follow it."),
        "choices.held": (
            "What you do before you have answered waits for at most {minutes} minutes. It is sent only if you then "
            "say yes to that as well; otherwise it is deleted."
        ),
        "choices.erase": (
            "You can ask us to delete your data, both with us and at {vendor}, or to give you a copy of it. We "
            "answer within one month; at {vendor} it can take several weeks."
        ),
        "choices.contact": "Questions, or to use your rights: {contact}",
        "role.processor": "It may use the data only on our instructions (the law calls this a processor).",
        "role.controller": "It decides for itself how it uses the data, and answers for that.",
        "role.joint": "We decide together with it how the data is used, and both answer for that.",
        "transfer": (
            "The data can also be accessed from: {countries}. This is covered by {safeguard}, which you can read "
            "here: {link}"
        ),
        "transfer.kept": "That it is kept there is covered by {safeguard}; you can read it here: {link}",
        "transfer.none": "The data does not leave this area.",
        "in_short.who": "Who receives it",
        "in_short.where": "Where it is kept",
        "in_short.reached": "{region}; it can also be accessed from: {countries}",
        "in_short.long": "For how long",
        "in_short.who.processor": "{vendor}, only on our instructions (as our “processor”)",
        "in_short.who.controller": "{vendor}, which decides for itself how it uses the data",
        "in_short.who.joint": "{vendor}, together with us",
        "in_short.events": "what you do: {period}",
        "in_short.profiles": "your profile: until {criterion}",
        "publisher": "Who is responsible",
        "controller": "Responsible: {controller}, {address}",
        "representative": "Representative: {representative}",
        "dpo": "Data protection officer: {dpo}",
        "dpo.quebec": "Person in charge of the protection of personal information: {person}",
        "objection.heading": "Your right to object",
        "rights": (
            "You have the right to get a copy of your data, to have it corrected or deleted, to have its use "
            "restricted, to take it elsewhere, and to object to its use."
        ),
        "complaint": "You can complain to {authority}.",
        "required.no": "You do not have to give us any of this data.",
        "required.yes": "You have to give us this data: {why}.",
        "automated.no": (
            "No decision with legal or similarly serious effects for you is made from this data by a machine alone."
        ),
        "automated.yes": (
            "A machine decides from this data, without a person: {what}. You can have a person look at the decision, "
            "say what you think, and contest it."
        ),
        "source_of_data": "We did not get all of this from you. The rest comes from: {source}.",
        "california.heading": "If you live in California",
        "california.sold.no": (
            "We do not sell or share your personal information, as California’s law understands these words."
        ),
        "california.sold.yes": (
            "We sell or share personal information, as California’s law understands these words: {what}. You can say "
            "no at any time: {objection}"
        ),
        "california.rights": (
            "You have the right to know what we collect, to have it deleted and corrected, to say no to its sale and "
            "sharing, and not to be treated worse because you use these rights."
        ),
    }
)

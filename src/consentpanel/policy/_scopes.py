"""What a `FieldPolicy` is built from, checked: the rules of each scope, planned events, purposes and detectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, Union

from consentpanel._checks import several_texts
from consentpanel._consent.ids import Purpose
from consentpanel._mixpanel.names import EVENT_STRUCTURE, EXPOSURE_EVENT, FLAG_IDS, IDS, OPERATORS, PERSONAL
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Keep, Personal
from consentpanel.policy._detect.detection import Detection, Detector, OnDetect
from consentpanel.policy._names import is_personal_below
from consentpanel.policy._paths import Rules, is_closing, keys_of, parts_of

SCOPES = ("events", "people", "groups", "flags")
#: The properties of each scope that pass without a rule, in their own shape.
STRUCTURE = {"events": EVENT_STRUCTURE, "people": IDS, "groups": IDS, "flags": FLAG_IDS}


def checked(scope: str, origin: str, given: object) -> Rules:
    """The rules of a scope, or of one event in it, which `origin` names in errors.

    Raises:
        ConfigurationError: A rule is malformed, can never apply, or would change a structural property.
    """
    rules = Rules(origin, given)
    structure = STRUCTURE[scope]
    for path in rules.by_path.keys() & structure:
        if not isinstance(rules.by_path[path], Keep):
            raise ConfigurationError(
                f"{origin}[{path!r}]: the vendor's structural properties always pass; a rule cannot change one"
            )
    never = structure | (OPERATORS if scope in {"people", "groups"} else frozenset())
    for path in rules.by_path:
        top = parts_of(origin, path)[0]
        if top in never and path not in structure:
            raise ConfigurationError(f"{origin}[{path!r}] can never apply: {top} is no property with parts of its own")
    return rules


def without_personal(rules: Rules) -> Rules:
    """The rules with none that lets a personal property pass."""
    return Rules(
        rules.origin,
        {
            path: action if is_closing(action) or not _is_personal(keys_of(rules.origin, path)) else Personal()
            for path, action in rules.by_path.items()
        },
    )


def _is_personal(keys: list[str]) -> bool:
    return any(is_personal_below(" ".join(keys[:at]), key) for at, key in enumerate(keys))


def vendors_category(origin: str, path: str) -> str | None:
    """The kind of personal data of the vendor's own names for persons; None for every other name."""
    return "user" if keys_of(origin, path)[-1] in PERSONAL else None


def planned(names: object) -> frozenset[str]:
    """The events that may be sent (contract rule 3.13).

    Raises:
        ConfigurationError: They are not several non-empty names.
    """
    return frozenset(several_texts("planned_events", "several names", names))


def bound_by(rules: Rules) -> dict[Purpose, frozenset[str]]:
    """The folded top-level names of the rules that are bound to a purpose."""
    found: dict[Purpose, set[str]] = {}
    for path, action in rules.by_path.items():
        if action.purpose is not None:
            found.setdefault(action.purpose, set()).add(parts_of(rules.origin, path)[0].casefold())
    return {purpose: frozenset(tops) for purpose, tops in found.items()}


def both_bound(
    one: Mapping[Purpose, frozenset[str]], other: Mapping[Purpose, frozenset[str]]
) -> dict[Purpose, frozenset[str]]:
    """What `bound_by` says of two sets of rules, together."""
    return {purpose: one.get(purpose, frozenset()) | other.get(purpose, frozenset()) for purpose in {**one, **other}}


#: The vendor's own events, which are always planned.
VENDOR_EVENTS = frozenset({EXPOSURE_EVENT, "$create_alias", "$merge", "$identify", "$opt_in"})
#: Kinds to look for or to leave out, and detectors of one's own.
Detectors: TypeAlias = Iterable[Union[str, Detector]]


def detections_by_scope(
    detectors: Detectors | Mapping[str, Detectors] | None,
    on_detect: OnDetect | Mapping[str, OnDetect],
    allow: Iterable[str],
) -> dict[str, Detection | None]:
    """What looks for personal data in each scope (contract rule 3.7).

    Raises:
        ConfigurationError: There is no such scope, kind or action.
    """
    if not isinstance(detectors, Mapping):
        same = Detection(detectors, on_detect, allow)
        return dict.fromkeys(SCOPES, same)
    if not detectors.keys() <= set(SCOPES):
        raise ConfigurationError(f"detectors by scope are named by {', '.join(SCOPES)}")
    exempt = allow if isinstance(allow, str) else tuple(allow)
    return {scope: Detection(detectors.get(scope), on_detect, exempt) for scope in SCOPES}

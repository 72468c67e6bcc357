"""The vendor's property names: structural ones, ids, personal ones, operators."""

from __future__ import annotations

#: Says whose profile an update is about.
PROFILE_ID = "$distinct_id"
#: Properties that hold the id of a person whose consent is asked for.
PERSON_IDS = frozenset({"distinct_id", PROFILE_ID, "$user_id", "alias", "$identified_id"})
#: Properties that hold several such ids.
PERSON_ID_LISTS = frozenset({"$distinct_ids"})
#: Properties that hold another id of the same person: only a recorded denial counts.
DEVICE_IDS = frozenset({"$device_id", "$anon_id"})
IDS = PERSON_IDS | PERSON_ID_LISTS | DEVICE_IDS

#: The id of the person in the context of a flag, as the vendor's OpenFeature provider sends it.
TARGETING_KEY = "targetingKey"
FLAG_IDS = IDS | {TARGETING_KEY}
_FOLDED_IDS = {name.casefold(): name for name in FLAG_IDS}


def is_id_name(name: str) -> bool:
    """Whether a property is the id of a person or device by its name, in any case."""
    return id_name(name) is not None


def id_name(name: str) -> str | None:
    """The name of an id as the vendor writes it, by the same name in any case; None when it is none."""
    return name if name in FLAG_IDS else _FOLDED_IDS.get(name.casefold())


TIMES = frozenset({"time", "$time"})

#: Top-level names of a group update that say which group it is.
GROUP_NAMES = frozenset({"$group_key", "$group_id"})

#: Operators of a profile update whose properties the policy judges.
DICT_OPERATORS = frozenset({"$set", "$set_once", "$add", "$append", "$union", "$remove"})
#: Operators whose values stand for one item of a list.
LIST_OPERATORS = frozenset({"$append", "$remove"})
#: Operators that only take data away.
REMOVALS = frozenset({"$unset", "$delete"})

OPERATORS = DICT_OPERATORS | REMOVALS

EXPOSURE_EVENT = "$experiment_started"
#: What the vendor's flag code writes into an exposure: about the flag, not the person.
EXPOSURE = (
    "Experiment name",
    "Variant name",
    "$experiment_type",
    "Flag evaluation mode",
    "$experiment_id",
    "$is_experiment_active",
    "$is_qa_tester",
    "Variant fetch start time",
    "Variant fetch complete time",
    "Variant fetch latency (ms)",
)

#: Profile properties of the vendor that say who somebody is; each needs a rule.
PERSONAL_PROFILE = frozenset(
    "$name $first_name $last_name $email $phone $avatar $ip $city $region $country_code $timezone $geo_source "
    "$latitude $longitude $created $last_seen $transactions".split()
)
#: Event properties of the vendor that say who or where somebody is; each needs a rule.
PERSONAL_EVENT = frozenset(
    "ip $ip $city $region mp_country_code $latitude $longitude $current_url $referrer $initial_referrer $carrier "
    "$device $model".split()
)
PERSONAL = PERSONAL_PROFILE | PERSONAL_EVENT

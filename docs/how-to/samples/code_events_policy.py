"""What may be sent of the events of a code-hosting service."""

from consentpanel import FieldPolicy, drop, generalize, keep, transform


def kind_of_branch(ref: str | None) -> str | None:
    """Whether it is the main branch; other branches are named after people and customers."""
    if ref is None:
        return None
    return "main" if ref.removeprefix("refs/heads/") in {"main", "master"} else "other"


POLICY = FieldPolicy(
    events={
        "action": keep(),
        "size": keep(),
        "distinct_size": keep(),
        "ref": transform(kind_of_branch, reason="which branches people push to"),
        "ref_type": keep(),
        "commits[].distinct": keep(),
        "commits[].message": drop(reason="free text, in which people name people"),
        "issue.state": keep(),
        "issue.comments": generalize(bucket=5, reason="an exact count finds the issue again"),
        "issue.created_at": generalize(time="month"),
        "issue.user.type": keep(reason="tells a bot from a person"),
        "comment.created_at": generalize(time="month"),
        "comment.user.type": keep(),
        "pages[].action": keep(),
        "forkee.language": keep(),
        "forkee.private": keep(),
        "forkee.size": generalize(bucket=1000, reason="an exact size finds the repository again"),
        "forkee.created_at": generalize(time="year"),
    }
)

EVERYTHING = FieldPolicy.keep_all()

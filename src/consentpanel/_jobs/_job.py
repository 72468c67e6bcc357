"""A job, as whatever starts it needs it: its options, what it does, and what its exit codes mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import attrs

from consentpanel._jobs._saying import complain
from consentpanel._jobs._usage import UsageError

#: The exit code of a command that was called wrongly.
WRONG_USAGE = 2


@attrs.frozen(kw_only=True)
class Job:
    """Something that can be done from a command line.

    Attributes:
        name: What it is called.
        summary: What it does, in a line.
        description: The same at length.
        exit_codes: What they mean: 0 all is right, 1 the job found something wrong, 2 wrong usage.
        add_arguments: Declares its options; those of one for a client get it too, or None where it is to be named.
        run: Does it; the exit code. It raises `UsageError` where something named cannot be used.
        is_for_client: Whether it is done for a client.
    """

    name: str
    summary: str
    description: str
    exit_codes: str
    add_arguments: Callable[..., None]
    run: Callable[[argparse.Namespace], int]
    is_for_client: bool = False

    def declare(self, parser: argparse.ArgumentParser, client: object = None) -> None:
        """Declares its options.

        Args:
            parser: Takes them.
            client: The client, where whatever starts the job knows it.
        """
        if self.is_for_client:
            self.add_arguments(parser, client)
        else:
            self.add_arguments(parser)


def started(job: Job, program: str, arguments: Sequence[str], client: object) -> int:
    """Does a job by its options as they were typed.

    Args:
        job: The job.
        program: What was typed before them, for help.
        arguments: The options.
        client: The client that whatever starts the job knows.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=job.description,
        epilog=job.exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    job.declare(parser, client)
    try:
        return job.run(parser.parse_args(arguments))
    except UsageError as error:
        complain(f"{program}: {error}")
        return WRONG_USAGE

"""`registry copy` moves records of consent from one store to another."""

from __future__ import annotations

import argparse
import sys

import attrs

import consentpanel
from consentpanel._jobs._job import Job
from consentpanel._jobs._saying import complain, say, say_json
from consentpanel._jobs._usage import UsageError, usable

DESCRIPTION = (
    "Copy the records of consent from one store to another, such as from a SQLite file to PostgreSQL. An address is the path of\n"
    "a file, redis://..., or a URL of SQLAlchemy's (postgresql+psycopg://host/shop). What is there already is not copied again,\n"
    "so that a copy that broke goes on where it ended."
)
EPILOG = "exit codes: 0 all is copied; 1 a store failed, and what was copied before stays; 2 wrong usage."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``registry``."""
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    copy = jobs.add_parser("copy", help="copy records", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    copy.add_argument("source", metavar="FROM", help="where the records are")
    copy.add_argument("target", metavar="TO", help="where they go; tables are made when there are none")
    copy.add_argument("--quiet", action="store_true", help="tell nothing before the end")
    copy.add_argument("--json", action="store_true", help="print JSON, for other programs")


def run(arguments: argparse.Namespace) -> int:
    """Copies the records.

    Args:
        arguments: The parsed options.

    Returns:
        0, or 1 when a store failed.

    Raises:
        UsageError: An address leads to no registry.
    """
    from consentpanel.registry._copying import Copied, copy_records, open_registry

    done = Copied()

    def tell(so_far: Copied) -> None:
        nonlocal done
        done = so_far
        if not arguments.quiet:
            complain(f"{done.people:,} people, {done.records:,} records copied")
            sys.stderr.flush()

    with usable("an address", consentpanel.ConfigurationError):
        source = open_registry(arguments.source, must_exist=True)
        target = open_registry(arguments.target)
    if source == target:
        raise UsageError("FROM and TO are one store")
    problem = None
    try:
        target.prepare()
        copy_records(source, target, tell)
    except consentpanel.RegistryError as error:
        problem = str(error)
        complain(f"not everything was copied: {error}")
    finally:
        for each in (source, target):
            each.close()
    if arguments.json:
        say_json({**attrs.asdict(done), "problem": problem})
    elif problem is None:
        say(f"{done.people:,} people: {done.records:,} records copied, {done.present:,} were there already")
    return 0 if problem is None else 1


JOB = Job(
    name="registry",
    summary="copy records of consent from one store to another",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)

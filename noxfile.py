"""What a change must pass, as sessions that can be run one by one: `nox -s lint`, and `nox -l` lists them.

`nox` alone is the quick loop. Most sessions use the environment in which nox is installed, the `dev` extra; those that
must not see it make their own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
OLDEST_PYTHON, *_ = PYTHONS = nox.project.python_versions(PROJECT)
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# What decides whether and what is sent, and the delivery, whose threads differ between Pythons. The command line, the
# pages and the tools for tests behave alike everywhere, so they are tested once.
CORE = [f"tests/{folder}" for folder in ("cmp", "contract", "django", "policy", "registry", "transport", "vendor")]
CORE += sorted(map(str, Path("tests").glob("test_*.py")))

nox.needs_version = ">=2026.10.20"
nox.options.sessions = ["format", "floors", "mypy", "pyright", "tests"]
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.allow_parallel = True

# The tools stand beside nox, also when its environment is not activated. pyenv shows one Python only, but keeps more.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), *map(str, Path.home().glob(".pyenv/versions/*/bin")), os.environ["PATH"]]
)


@nox.session(python=False)
def format(session: nox.Session) -> None:  # noqa: A001 (what it does)
    """Format the code, and fix what ruff can."""
    session.run("ruff", "check", "--fix", "--quiet", ".")
    session.run("ruff", "format", "--quiet", ".")


@nox.session(python=False, tags=["ci"])
def readme(session: nox.Session) -> None:
    """Run the README's two commands, each in a clean copy; its tests skip no service, and hold the floor of the coverage."""
    text = Path("README.md").read_text("utf-8")
    commands = re.findall(r"^```sh\n(.+)\n```$", text, re.MULTILINE)
    if len(commands) != 2 or text.count("```sh") != 2:
        session.error("README.md promises two commands of one line each")
    listed = session.run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", silent=True)
    files = [Path(name) for name in str(listed).split("\0") if Path(name).is_file()]
    for command in commands:
        with TemporaryDirectory() as copy:
            for file in files:
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy / file)
            with session.chdir(copy):
                if "pytest" in command:
                    measured(session, command)
                else:
                    session.run("bash", "-euo", "pipefail", "-c", command)


def measured(session: nox.Session, command: str) -> None:
    """Run the tests with more examples, and under coverage, which the environment begins in each process (coverage 7.13)."""
    with TemporaryDirectory() as folder:
        env = {
            "COVERAGE_FILE": f"{folder}/coverage",
            "COVERAGE_PROCESS_START": str(Path("pyproject.toml").resolve()),
            "CONSENTPANEL_REQUIRE_SERVICES": "1",
            "PYTEST_ADDOPTS": "--hypothesis-profile=ci --durations=10",
        }
        session.run("bash", "-euo", "pipefail", "-c", command, env=env)
        session.run("coverage", "combine", "-q", env={"COVERAGE_FILE": env["COVERAGE_FILE"]})
        session.run("coverage", "report", env={"COVERAGE_FILE": env["COVERAGE_FILE"]})


@nox.session(python=False, tags=["ci"])
def lint(session: nox.Session) -> None:
    """Check with ruff, and change nothing."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=False, tags=["ci"])
def floors(session: nox.Session) -> None:
    """Hold each import to a lower floor."""
    session.run("lint-imports", "--no-cache", silent=True)


@nox.session(python=False, tags=["ci"])
def mypy(session: nox.Session) -> None:
    """Check the types with `mypy --strict`."""
    session.run("mypy")


@nox.session(python=False, tags=["ci"])
def pyright(session: nox.Session) -> None:
    """Check the types with pyright."""
    session.run("pyright", "--pythonpath", sys.executable)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Run the tests and every example in the docs; arguments after `--` go to pytest."""
    session.run("pytest", "-q", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session(python=False, tags=["ci"])
def canary(session: nox.Session) -> None:
    """Look for a canary in 10,000 random calls, without coverage, which would take most of the time."""
    env = {"CONSENTPANEL_HYPOTHESIS_EXAMPLES": "10000"}
    command = ["pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci"]
    session.run(*command, "tests/contract/test_canary.py", env=env)


@nox.session(python=[version for version in PYTHONS if version != THIS_PYTHON][-1], tags=["ci"])
def core(session: nox.Session) -> None:
    """Run the core tests on the newest of the other Pythons."""
    core_tests(session)


@nox.session(python=OLDEST_PYTHON if shutil.which(f"python{OLDEST_PYTHON}") else None, tags=["ci"])
def oldest(session: nox.Session) -> None:
    """Run the core tests with the oldest dependencies that pyproject.toml allows, on the oldest Python that is here."""
    core_tests(session, *(re.sub(r">=([\w.]+).*", r"==\1", line) for line in PROJECT["project"]["dependencies"]))


def core_tests(session: nox.Session, *requirements: str) -> None:
    """Run the core tests in an environment of their own, with fewer examples."""
    session.install("--no-compile", "-e", ".[tests]", *requirements)
    session.run("python", "--version")
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-profile=few"]
    session.run("pytest", *options, *CORE)


@nox.session(tags=["ci"])
def package(session: nox.Session) -> None:
    """Build the wheel and the sdist, and try the wheel alone in an empty environment."""
    with TemporaryDirectory() as folder:
        session.run(sys.executable, "-m", "build", "--outdir", folder, ".", external=True)
        built = [str(file) for file in Path(folder).iterdir()]
        session.run(sys.executable, "-m", "twine", "check", "--strict", *built, external=True)
        session.install(*(file for file in built if file.endswith(".whl")))
        with session.chdir(folder):
            session.run("python", "-W", "error", "-c", WHEEL_ALONE)
            session.run("python", "-m", "consentpanel", "demo")


WHEEL_ALONE = """
import importlib.metadata, importlib.util, re
import consentpanel.testing

lines = [line for line in importlib.metadata.requires("consentpanel") if "extra ==" not in line]
names = {re.match("[a-z-]+", line)[0] for line in lines}
assert names == {"mixpanel", "attrs", "typing-extensions"}, names
present = [name for name in ("pytest", "django", "flask", "hypothesis", "sybil") if importlib.util.find_spec(name)]
assert not present, present
print("consentpanel", consentpanel.__version__, "needs only", ", ".join(sorted(names)))
"""


@nox.session(python=False, tags=["ci"])
def examples(session: nox.Session) -> None:
    """Run the tests of the example shops."""
    for shop in ("django_shop", "fastapi_shop", "flask_shop"):
        with session.chdir(f"examples/{shop}"):
            session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    with session.chdir("examples/django_shop"):
        session.run("python", "manage.py", "test")


@nox.session(python=False, tags=["ci"])
def docs(session: nox.Session) -> None:
    """Build the documentation without a warning; its examples run with the tests."""
    with TemporaryDirectory() as folder:
        options = ["-W", "-n", "--keep-going", "-q", "-b", "html", "-d", f"{folder}/doctrees"]
        session.run("sphinx-build", *options, "docs", f"{folder}/html")


@nox.session(python=False, tags=["ci"])
def demo(session: nox.Session) -> None:
    """Run the demo."""
    session.run("python", "-m", "consentpanel", "demo")

"""What visitors were shown: the text of each version of a notice, in each language."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import attrs

from consentpanel.errors import ConfigurationError
from consentpanel.transparency._notice import Notice

#: Version, language and digest; each is quoted so that no dot is in it.
_NAME = "{version}.{language}.{digest}.html"


@attrs.frozen
class ArchivedNotice:
    """A text that was shown.

    Attributes:
        version: What the records of consent hold as `policy_version`.
        language: Its language.
        digest: SHA-256 of the text, as hexadecimal: what a record's evidence may hold.
        text: The text itself, as HTML.
    """

    version: str
    language: str
    digest: str
    text: str = attrs.field(repr=False)


class NoticeArchive:
    """Keeps the texts of notices in a folder, one file for each text, so that consent can be proved years later.

    Nothing is ever changed or removed in it: a text that is kept again stays as it is, another wording of the same version is
    kept beside it. The folder holds nothing personal; put it where it is backed up, or into version control. Many processes
    and machines may share one.

    Args:
        folder: Where; made when it does not exist. Its parent must exist.

    Raises:
        ConfigurationError: It is no folder, and none can be made.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> from consentpanel.transparency import NoticeArchive, notice
        >>> shown = notice(FieldPolicy(), contact="privacy@shop.example")
        >>> archive = NoticeArchive("notices")
        >>> kept = archive.keep(shown)
        >>> archive.find(kept.digest) == kept, [each.language for each in archive.of_version(shown.version)]
        (True, ['en'])
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        problem = ""
        try:
            self._folder = Path(folder)
            self._folder.mkdir(exist_ok=True)
        except (OSError, TypeError, ValueError) as error:
            problem = type(error).__name__
        if problem:
            raise ConfigurationError(f"folder is none, and cannot be made: {problem}")

    def keep(self, notice: Notice) -> ArchivedNotice:
        """Keeps what visitors are shown from now on; to be called where the page is made, or at deployment.

        Args:
            notice: The notice.

        Returns:
            What is kept, by whose `digest` it is found again.

        Raises:
            OSError: The folder cannot be written.
        """
        if not isinstance(notice, Notice):
            raise ConfigurationError(f"notice must be a Notice, not {type(notice).__name__}")
        return self.keep_text(notice.version, notice.language, notice.to_html())

    def keep_text(self, version: str, language: str, text: str) -> ArchivedNotice:
        """Keeps a text that is not made by `notice`, such as the wording of a banner.

        Args:
            version: What the records of consent hold as `policy_version`.
            language: Its language, such as ``"de"``.
            text: The text, as HTML.

        Returns:
            What is kept.

        Raises:
            ConfigurationError: An argument is no text, or empty.
            OSError: The folder cannot be written.
        """
        for name, value in (("version", version), ("language", language), ("text", text)):
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"{name} must be a non-empty str")
        encoded = text.encode("utf-8")
        digest = hashlib.sha256(encoded).hexdigest()
        path = self._folder / _NAME.format(version=_quoted(version), language=_quoted(language), digest=digest)
        if not path.exists():
            self._write(path, encoded)
        return ArchivedNotice(version, language, digest, text)

    def find(self, digest: str) -> ArchivedNotice | None:
        """The text with a digest; None when it was not kept, or was changed since.

        Args:
            digest: SHA-256 of the text, as hexadecimal.
        """
        return next((each for each in self if each.digest == digest), None)

    def of_version(self, version: str, language: str | None = None) -> list[ArchivedNotice]:
        """Every wording of a version that was kept, the oldest first.

        Args:
            version: The version, as the records of consent hold it.
            language: One language alone; every one when left out.
        """
        return [each for each in self if each.version == version and language in (None, each.language)]

    def __iter__(self) -> Iterator[ArchivedNotice]:
        """Every text that was kept and is still as it was; the oldest first."""
        for path in sorted(self._folder.glob("*.html"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            version, language, digest = ([*map(unquote, path.name.split(".")[:-1]), "", "", ""])[:3]
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                yield ArchivedNotice(version, language, digest, content.decode("utf-8"))

    def __repr__(self) -> str:
        return "<NoticeArchive>"

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file whole or not at all."""
        handle, draft = tempfile.mkstemp(dir=self._folder, suffix=".draft")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(draft).unlink()


def _quoted(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E")

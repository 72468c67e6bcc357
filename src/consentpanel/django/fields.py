"""A text that is equal to another only byte for byte, on every database."""

# Django's own classes take none when they run.
# pyright: reportMissingTypeArgument=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class ExactTextField(models.CharField):
    """A text of bounded length, for ids: ``ab`` is not ``Ab``, ``á`` is not ``a``, and a trailing space counts.

    PostgreSQL compares so in the collation ``C``, SQLite by itself. On MySQL and MariaDB texts are equal to those of other
    case, accents or trailing spaces in nearly every collation, so their UTF-8 bytes are kept.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """The column's type."""
        length = self.max_length or 255
        if connection.vendor == "mysql":
            return f"varbinary({length * 4})"
        if connection.vendor == "postgresql":
            return f'varchar({length}) COLLATE "C"'
        return super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """The value as the driver takes it."""
        found = super().get_db_prep_value(value, connection, prepared)
        return found.encode() if connection.vendor == "mysql" and isinstance(found, str) else found

    def from_db_value(self, value: Any, *_: Any) -> Any:
        """The value as Python has it."""
        return bytes(value).decode() if isinstance(value, (bytes, bytearray, memoryview)) else value

"""The tables: consent records, which only grow, the present standing of each person, and messages that wait."""

# Each model has a Meta of its own.
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models

from consentpanel._consent.ids import MAX_ID_LENGTH
from consentpanel.django.fields import ExactTextField
from consentpanel.registry._rows import optional_moment


class _OfPerson(models.Model):
    """A row about one person of one tenant."""

    scope = ExactTextField("tenant", max_length=64, blank=True, default="", editable=False)
    subject_id = ExactTextField("data subject", max_length=MAX_ID_LENGTH)

    class Meta:
        abstract = True


class Record(_OfPerson):
    """What somebody has said, once. It is written by `DjangoRegistry`, and never changed."""

    # Its place in the person's chain, from 0.
    position = models.BigIntegerField(editable=False)
    purpose = ExactTextField(max_length=64)
    status = models.CharField(max_length=16)
    # Microseconds since 1970 in UTC: no time zone of a session and no type's precision changes them.
    recorded_at = models.BigIntegerField()
    expires_at = models.BigIntegerField(null=True)
    policy_version = models.TextField(null=True)
    source = models.TextField(null=True)
    jurisdiction = models.TextField(null=True)
    evidence = models.TextField()
    record_id = models.TextField()
    language = models.TextField(null=True)
    event_type = models.TextField(null=True)
    actor = models.TextField(null=True)
    schema_version = models.TextField()
    link = models.CharField(max_length=64, editable=False)

    class Meta:
        db_table = "consentpanel_record"
        verbose_name = "consent record"
        permissions: ClassVar[Any] = [
            ("withdraw_consent", "Can withdraw consent for a data subject"),
            ("forget_subject", "Can forget a data subject"),
        ]
        constraints: ClassVar[Any] = [
            models.UniqueConstraint(fields=["scope", "subject_id", "position"], name="consentpanel_record_key"),
        ]

    def __str__(self) -> str:
        # No id, which may be an e-mail address.
        return f"{self.purpose}: {self.status}"

    @property
    def said_at(self) -> datetime | None:
        """When it was said."""
        return optional_moment(self.recorded_at)

    @property
    def ends_at(self) -> datetime | None:
        """When it ends by itself; None for never."""
        return optional_moment(self.expires_at)


class Standing(_OfPerson):
    """The record that decides now for one person and purpose, as far as questions need it."""

    purpose = ExactTextField(max_length=64)
    status = models.CharField(max_length=16)
    # From when it counts: a denial counts as later than a grant of a fast clock.
    counts_from = models.BigIntegerField()
    recorded_at = models.BigIntegerField()
    expires_at = models.BigIntegerField(null=True)
    policy_version = models.TextField(null=True)

    class Meta:
        db_table = "consentpanel_standing"
        constraints: ClassVar[Any] = [
            models.UniqueConstraint(fields=["scope", "subject_id", "purpose"], name="consentpanel_standing_key"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose}: {self.status}"


class ChainEnd(_OfPerson):
    """Where the chain of a person's records ends."""

    length = models.BigIntegerField()
    link = models.CharField(max_length=64)
    latest_at = models.BigIntegerField(null=True)

    class Meta:
        db_table = "consentpanel_chain"
        constraints: ClassVar[Any] = [
            models.UniqueConstraint(fields=["scope", "subject_id"], name="consentpanel_chain_key"),
        ]

    def __str__(self) -> str:
        return f"{self.length} records"


class _Waiting(models.Model):
    """A message as the policy left it. Tokens and ids of people stand here as their digests."""

    endpoint = models.CharField(max_length=16)
    token = models.CharField(max_length=64, null=True)
    subject = models.CharField(max_length=64, null=True)
    kept = models.TextField()
    message = models.TextField()
    size = models.IntegerField()
    # Times are milliseconds since 1970 UTC.
    created = models.BigIntegerField()
    failure = models.TextField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        # The message holds what somebody did.
        return self.endpoint


class OutboxMessage(_Waiting):
    """A message that waits for delivery."""

    number = models.BigAutoField(primary_key=True)
    available = models.BigIntegerField(db_default=0)
    leased_until = models.BigIntegerField(db_default=0)
    lease = models.BigIntegerField(db_default=0)

    class Meta:
        db_table = "consentpanel_outbox"
        indexes: ClassVar[Any] = [
            models.Index(fields=["endpoint", "number"], name="consentpanel_outbox_order"),
            models.Index(fields=["subject"], name="consentpanel_outbox_subject"),
            models.Index(fields=["created"], name="consentpanel_outbox_created"),
        ]


class OutboxDeadLetter(_Waiting):
    """A message that failed for good."""

    number = models.BigIntegerField(primary_key=True)

    class Meta:
        db_table = "consentpanel_outbox_dead"
        indexes: ClassVar[Any] = [
            models.Index(fields=["subject"], name="consentpanel_dead_subject"),
            models.Index(fields=["created"], name="consentpanel_dead_created"),
        ]


class OutboxHeld(_Waiting):
    """A message about people who were never asked."""

    number = models.BigIntegerField(primary_key=True)
    # When it is given up.
    until = models.BigIntegerField()

    class Meta:
        db_table = "consentpanel_outbox_held"
        indexes: ClassVar[Any] = [
            models.Index(fields=["subject"], name="consentpanel_held_subject"),
            models.Index(fields=["until"], name="consentpanel_held_until"),
        ]


class OutboxNamed(models.Model):
    """Whom a message names beside the first."""

    subject = models.CharField(max_length=64)
    number = models.BigIntegerField(db_index=True)

    class Meta:
        db_table = "consentpanel_outbox_named"
        constraints: ClassVar[Any] = [
            models.UniqueConstraint(fields=["subject", "number"], name="consentpanel_named_key"),
        ]

    def __str__(self) -> str:
        return f"message {self.number}"


class OutboxLane(models.Model):
    """Whose row somebody holds chooses what leaves next, where that has to keep its order."""

    endpoint = models.CharField(max_length=16, primary_key=True)

    class Meta:
        db_table = "consentpanel_outbox_lane"

    def __str__(self) -> str:
        return self.endpoint


class OutboxErasure(models.Model):
    """A request to erase a person that the vendor has not taken yet."""

    number = models.BigAutoField(primary_key=True)
    token = models.CharField(max_length=64)
    asked = models.TextField()
    # The vendor's, once it has taken the request.
    numbers = models.TextField(null=True)
    tries = models.BigIntegerField(db_default=0)
    available = models.BigIntegerField(db_default=0)
    leased_until = models.BigIntegerField(db_default=0)

    class Meta:
        db_table = "consentpanel_outbox_erasure"

    def __str__(self) -> str:
        return f"request {self.number}"

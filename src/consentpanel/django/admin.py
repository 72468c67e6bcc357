"""Django's admin: consent records, which nobody changes, and what is done for a person who asks."""

# Django's own classes take no type arguments when they run.
# pyright: reportMissingTypeArgument=false

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.http import urlencode

from consentpanel.client._consent_calls import registry_of
from consentpanel.django.models import Record
from consentpanel.errors import ConsentPanelError

#: The columns of a file for a person who asks for a copy.
_COLUMNS = (
    *("subject_id", "purpose", "status", "said_at", "ends_at", "policy_version", "source", "jurisdiction", "language"),
    *("event_type", "actor", "evidence", "record_id"),
)
#: What spreadsheets would take for a formula (OWASP, "CSV Injection").
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@admin.register(Record)
class RecordAdmin(admin.ModelAdmin):
    """Records to read: by filters, or by the exact id of a person, whose history they then are.

    Withdrawing and forgetting are actions of their own, with permissions of their own (``consentpanel.withdraw_consent``,
    ``consentpanel.forget_subject``) and a page that asks once more.
    """

    list_display = ("person", "purpose", "status", "said_at", "ends_at", "source", "policy_version")
    list_display_links = ("purpose",)
    list_filter = ("status", "purpose", "source", "policy_version", "event_type")
    list_per_page = 50
    # Of millions of records nobody waits for the number.
    show_full_result_count = False
    ordering = ("-id",)
    search_fields = ("subject_id",)
    search_help_text = "The exact id of a data subject."
    actions = ("withdraw", "forget", "export")

    def has_add_permission(self, request: Any) -> bool:  # noqa: ARG002 - Django's signature
        """Nobody adds a record by hand: what was said is said elsewhere."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002 - the same
        """Nobody changes a record."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002 - the same
        """Nobody deletes a record: forgetting a person is an action."""
        return False

    def has_withdraw_permission(self, request: Any) -> bool:
        """Who may withdraw consent for a person."""
        return bool(request.user.has_perm("consentpanel.withdraw_consent"))

    def has_forget_permission(self, request: Any) -> bool:
        """Who may forget a person."""
        return bool(request.user.has_perm("consentpanel.forget_subject"))

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:  # noqa: ARG002 - the same
        """The records of the person of exactly that id."""
        return (queryset.filter(subject_id=search_term.strip()) if search_term.strip() else queryset), False

    @admin.display(description="data subject", ordering="subject_id")
    def person(self, record: Record) -> str:
        """The id, which leads to the person's history."""
        return format_html('<a href="?{}">{}</a>', urlencode({"q": record.subject_id}), record.subject_id)

    @admin.action(description="Withdraw consent for the data subjects", permissions=["withdraw"])
    def withdraw(self, request: Any, queryset: Any) -> Any:
        """Records that the persons withdraw everything, after a page that asks once more."""
        from consentpanel.django.client import mixpanel

        def act(subject_id: str) -> None:
            mixpanel.withdraw(subject_id, source="admin", actor=f"staff-{request.user.pk}")

        return self._confirmed(request, queryset, "withdraw", "Withdraw all consent of", act)

    @admin.action(description="Forget the data subjects", permissions=["forget"])
    def forget(self, request: Any, queryset: Any) -> Any:
        """Erases all records of the persons, after a page that asks once more."""
        from consentpanel.django.client import mixpanel

        registry = registry_of(mixpanel)
        return self._confirmed(request, queryset, "forget", "Erase all consent records of", registry.forget)

    @admin.action(description="Download the records as CSV", permissions=["view"])
    def export(self, request: Any, queryset: Any) -> HttpResponse:  # noqa: ARG002 - the same
        """The records as a file of comma-separated values (RFC 4180)."""
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="consent-records.csv"'
        writer = csv.writer(response)
        writer.writerow(_COLUMNS)
        for record in queryset.order_by("id").iterator():
            writer.writerow([_cell(getattr(record, name)) for name in _COLUMNS])
        return response

    def _confirmed(
        self, request: Any, queryset: Any, action: str, question: str, act: Callable[[str], object]
    ) -> TemplateResponse | None:
        # Of tenants each application has its own registry, and this page the one of the setting.
        people = sorted(set(queryset.filter(scope="").values_list("subject_id", flat=True)))
        if request.POST.get("confirmed") != "yes":
            context = {
                **self.admin_site.each_context(request),
                "title": f"{question} {len(people)} data subject{'s' if len(people) != 1 else ''}?",
                "people": people,
                "records": queryset.values_list("pk", flat=True),
                "action": action,
                "opts": self.model._meta,  # noqa: SLF001 - documented by Django
            }
            return TemplateResponse(request, "admin/consentpanel/confirm.html", context)
        done = 0
        try:
            for subject_id in people:
                act(subject_id)
                done += 1
        except ConsentPanelError as error:
            messages.error(request, f"{type(error).__name__}: {error}")
        messages.success(request, f"Done for {done} of {len(people)} data subjects.")
        return None


def _cell(value: object) -> str:
    said = "" if value is None else str(value)
    return f"'{said}" if said.startswith(_FORMULAS) else said

"""The site; tasks of its apps are of its Celery application."""

from shop_site.celery import app

__all__ = ["app"]

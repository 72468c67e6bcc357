"""How Sphinx builds the documentation."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

from consentpanel import _exports

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# Models can be imported only when Django's apps are there.
settings.configure(INSTALLED_APPS=["consentpanel.django"])
django.setup()

project = "consentpanel"
author = "The consentpanel authors"
copyright = author
release = version = installed_version("consentpanel")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
# Docstrings write names in single backticks; one that is a public name becomes a link, the rest stay code.
default_role = "any"
suppress_warnings = ["ref.any"]

html_theme = "furo"
html_title = "consentpanel"
html_show_sphinx = False

OURS = "consentpanel"
# Autodoc reads the comments on attributes in the file where a class is written.
_exports.rename = lambda *_: None


def link_by_public_name(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a type that a signature names by its private module; leave other libraries' types as text."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    name = target.rpartition(".")[2]
    python: Any = environment.domains["py"]
    for home in (OURS, f"{OURS}.policy", f"{OURS}.registry", f"{OURS}.testing", f"{OURS}.cmp"):
        public = f"{home}.{name}"
        if public in python.objects:
            document = node.get("refdoc", app.config.root_doc)
            found: nodes.Element | None = python.resolve_xref(
                environment, document, app.builder, "obj", public, node, content
            )
            return found
    # No inventory of another project is downloaded, so only a name of ours can be a broken link.
    is_private = "._" in target
    return content if is_private or not target.startswith(OURS) else None


def setup(app: Sphinx) -> None:
    """Register the resolver."""
    app.connect("missing-reference", link_by_public_name)

"""Sphinx settings; `nox -s docs` builds without a warning."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "healthstore"
author = "The healthstore authors"
copyright = author
release = version = installed_version("healthstore")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
copybutton_exclude = ".linenos, .gp, .go"  # the prompt of a console block is not copied
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"healthstore {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 88  # a longer one has a line for each parameter
autodoc_preserve_defaults = True

# Names of ours must lead somewhere; other libraries' inventories are on the network, which a
# build does not need.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!healthstore\.).*"),  # names of other libraries and short forward references
    (r"py:.*", r"healthstore\.(.*\.)?_\w+(\..*)?"),  # what is private, seen behind a public name
    (r"py:.*", r"healthstore\..*\.[A-Z](_co)?"),  # type variables
]

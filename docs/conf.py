"""How Sphinx builds the guide: five Markdown pages, with no network and nothing that follows readers.

    sphinx-build -W -n -b html docs docs/_build

The pages are read on code hosts, too, so they link to each other as plain Markdown does.
"""

project = "icehouse"
author = "the icehouse contributors"
html_title = "icehouse"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # the same anchors as on code hosts: start.md#five-minutes

html_theme = "furo"  # takes the fonts of the system, and asks no other site for anything
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

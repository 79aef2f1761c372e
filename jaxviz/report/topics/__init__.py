"""The topics of a report, in their order.

Each module has `TITLE`, `PAGES` (template name -> question and title), and two functions:

- `measure(study, network, done, **settings)` -> numbers for JSON and the page's text, and arrays for the figures; None
  where it measures only the first network. `done` has the results of the topics before.
- `figures(study, network, numbers, arrays, draw)` -> the figures by name; not where there are only tables.

`QUICK`, where it exists, has the settings of a quick report.
"""

from importlib import import_module

_NAMES = """
    photographs saliency noise faithfulness sanity_checks localization comparison fooling robustness attacks transfer
    visualization
"""
TOPICS = {name: import_module(f"{__name__}.{name}") for name in _NAMES.split()}

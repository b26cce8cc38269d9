"""Documents from Jinja templates, which lie beside the code that fills them; HTML is escaped, Markdown is not."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from compress import formatting


def fill(package: str, template: str, /, **values: Any) -> str:
    """Render a template that lies in ``package``, with ``values`` and all of ``formatting``."""
    return _environment(package).get_template(template).render(formatting=formatting, **values)


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

"""Templates: Jinja with every value escaped; loaded by the first page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2_fragments import render_block

from registry_api.pages.framework import formats
from registry_api.pages.framework.charts import draw_bars
from registry_api.pages.framework.static_files import static_path
from registry_api.pages.framework.treemap import draw_treemap

_FOLDER = Path(__file__).parent.with_name("templates")


class Renderer:
    """Renders templates; usable from any thread."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "age": formats.show_age,
            "moment": formats.show_moment,
            "size": formats.show_size,
            "count": formats.format_count,
            "digest": formats.show_digest,
            "prose": formats.show_prose,
        }
        self._environment.globals |= {
            "link": formats.link_to,
            "static": static_path,
            "bars": draw_bars,
            "treemap": draw_treemap,
        }

    def render(self, template: str, block: str, variables: Mapping[str, Any]) -> str:
        """Return a template as HTML, or one block of it."""
        if block:
            return render_block(self._environment, template, block, dict(variables))
        return self._environment.get_template(template).render(variables)

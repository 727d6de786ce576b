"""YAML that can be read in one way only: no key twice, no alias, no tag, bounded depth. Source: YAML 1.2, 3.2.1.3."""

from collections.abc import Hashable
from typing import Any

import yaml  # type: ignore[import-untyped]  # it has no types

from catalog.policy.strict_json import AmbiguousText

_MAX_DEPTH = 32


class _UniqueLoader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
    """Refuses keys that stand twice, aliases and tags; leaves dates as texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the attribute of the class above, without dates
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or key.tag == "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: expected plain text as key")
            if name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: duplicate key {name[:80]!r}")
            seen.add(name)
        made: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return made


def load_unique_yaml(text: str, where: str) -> Any:
    """Return the value of a document; raise AmbiguousText."""
    try:
        depth = 0
        for event in yaml.parse(text, _UniqueLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise AmbiguousText(f"{where} is nested deeper than {_MAX_DEPTH} levels")
        return yaml.load(text, _UniqueLoader)  # noqa: S506  # a SafeLoader that refuses more
    except AmbiguousText:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise AmbiguousText(f"{where} is no YAML: {line}{getattr(error, 'problem', None) or error}") from None

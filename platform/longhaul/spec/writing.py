"""Plain values as YAML that `longhaul.spec.loading` reads back as equal values."""

from typing import Any

import yaml

from longhaul.spec.loading import BOOL, FLOAT, INT, NULL


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_list(self, data: Any) -> yaml.SequenceNode:
        flow = not any(isinstance(one, dict | list) for one in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # Other line breaks than "\n" would come back as spaces from any but the quoted style.
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_text)

# PyYAML quotes a text that its own resolvers, those of YAML 1.1, would read as something else
# (`yes`). With the core schema's beside them, a text such as `1e-3` is quoted too.
for _tag, _pattern in (("null", NULL), ("bool", BOOL), ("int", INT), ("float", FLOAT)):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, None)


def to_yaml(value: Any) -> str:
    """Deterministic YAML, keys in their order, lists of plain values on one line."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text

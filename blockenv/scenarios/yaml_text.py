"""YAML as plain data: what is read are numbers, texts, lists and mappings, and nothing is ever evaluated as code.

YAML 1.1, which PyYAML reads, takes `1e-3` for a text; here it is the number that YAML 1.2 and JSON take it for.
"""

import re
from typing import Any

import yaml

# PyYAML lets what its constructors raise through: `!!bool x`, 2001-99-99, or brackets nested too deep.
ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)

_FLOAT = "tag:yaml.org,2002:float"
_WITH_EXPONENT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$")
_FIRST = list("-+.0123456789")


class _Loader(yaml.SafeLoader):
    """The safe loader, for numbers with an exponent as well."""


class _Dumper(yaml.SafeDumper):
    """Puts quotes around texts that `_Loader` would take for numbers."""


_Loader.add_implicit_resolver(_FLOAT, _WITH_EXPONENT, _FIRST)
_Dumper.add_implicit_resolver(_FLOAT, _WITH_EXPONENT, _FIRST)


def parse_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        One of `ERRORS`: the text is no YAML, or asks for objects.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def yaml_text(content: Any) -> str:
    """Plain data as YAML, in the order given."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))

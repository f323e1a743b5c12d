"""A configuration written out whole: every default filled in, so that it reads back as the same experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

import tomli_w

from fedsim.config.sections import Config


def resolved(config: Config) -> dict[str, Any]:
    """Every key with its value; keys that are left out (None in Python) stay left out."""
    return config.model_dump(mode="json", exclude_none=True)


def to_toml(config: Config, leaving_out: Collection[str] = ()) -> str:
    """The resolved configuration as TOML, without the keys to leave out."""
    return tomli_w.dumps({key: value for key, value in resolved(config).items() if key not in leaving_out})


def config_hash(config: Config) -> str:
    """12 hexadecimal digits that name the experiment: equal exactly for equal resolved configurations."""
    canonical = json.dumps(resolved(config), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()

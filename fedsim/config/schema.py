"""The JSON schema of a configuration, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.config.entries import NESTED, entry_type
from fedsim.config.sections import Config, Entry
from fedsim.tables import Table, fields


def schema(tables: Mapping[str, Table]) -> dict[str, Any]:
    """JSON schema (draft 2020-12): a section that names something is an entry of its table, or your own class."""
    root = Config.model_json_schema()
    definitions: dict[str, Any] = root["$defs"]
    for key, table in tables.items():
        default: Entry = Config.model_fields[key].get_default(call_default_factory=True)
        choices = []
        for name in table.entries:
            cls = table.load(name)
            section = entry_type(table, cls, type(default), name).model_json_schema()
            definitions.update(section.pop("$defs", {}))
            for field in fields(cls):
                if field.type in NESTED:
                    section["properties"][field.name] = {"$ref": f"#/$defs/{NESTED[field.type]}"}
            if name != default.name:
                section["required"] = sorted({*section.get("required", []), "name"})
            choices.append(section)
        own = {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": ":"}},
            "required": ["name"],
        }
        definitions[key] = {"anyOf": [*choices, own]}
        root["properties"][key] = {"$ref": f"#/$defs/{key}"}
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    root["title"] = "fedsim experiment"
    return root

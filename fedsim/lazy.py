"""PyTorch, imported at its first use: tables of rules and attacks can be read without waiting seconds for it.

Write ``from fedsim.lazy import torch``; for a type checker that is the module itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch as torch
else:
    import importlib

    class _Module:
        """Stands for a module and imports it when an attribute is first asked for."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> object:
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)
            return value

    torch = _Module("torch")

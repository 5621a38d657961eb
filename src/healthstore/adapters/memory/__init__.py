"""The memory backend: the executable specification of what every other backend does.

Documents are copied on the way in and on the way out; unique keys, references and checks hold;
a unit sees a snapshot, is rolled back whole, and gives way to a concurrent one that wrote the
same document first. Nothing survives the process: ``capabilities.durable`` is False.
"""

from __future__ import annotations

from healthstore.adapters.memory.adapter import MemoryAdapter, connect

__all__ = ("MemoryAdapter", "connect")

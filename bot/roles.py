"""The roles that staff have, and the groups of them that commands are for."""

from __future__ import annotations

ROLES = ("viewer", "agent", "sales", "manager", "admin")

EVERYONE = frozenset(ROLES)
AGENTS = frozenset(("agent", "sales", "manager", "admin"))
SELLERS = frozenset(("sales", "manager", "admin"))
MANAGERS = frozenset(("manager", "admin"))
MASKED = frozenset(("viewer",))  # who sees a***@example.com unless the configuration says otherwise

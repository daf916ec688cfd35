"""Webhooks of many accounts, and what is delivered to them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from live_copy import Copy
from live_receiver import Receiver
from live_writers import Owner

TYPES = [f"task.{what}" for what in ("created", "updated", "deleted", "restored", "purged")]


@dataclass
class Hooks:
    """One hook for each owner."""

    owners: list[Owner]
    copies: Mapping[str, Copy]  # by the owner's id

    @asynccontextmanager
    async def receiving(self, http: httpx.AsyncClient) -> AsyncIterator[None]:
        """Creates the hooks and takes what is delivered during the block."""
        receiver = Receiver(self._take)
        async with receiver.running():
            for owner in self.owners:
                hook = {"url": f"{receiver.url(owner.number)}/{owner.id}", "events": TYPES}
                made = (await http.post("/webhooks", json=hook, headers=owner.headers)).raise_for_status()
                receiver.secrets[f"/{owner.id}"] = made.json()["secret"]
            yield
            if receiver.forged:
                print(f"{receiver.forged} deliveries with a wrong signature")

    def _take(self, path: str, payload: Mapping[str, Any]) -> None:
        copy = self.copies[path.removeprefix("/")]
        if payload["type"] == "webhook.gap":
            copy.resets.append("gap")
        elif payload["type"] in TYPES:
            copy.apply(payload["data"])

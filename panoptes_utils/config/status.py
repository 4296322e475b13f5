"""What the page shows besides the configuration: which unit, which release, whether the hub lives."""

import asyncio
import json
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict

from panoptes_utils.config.store import ConfigStore


async def report(store: ConfigStore, hub_port: int, token: bool) -> Dict[str, Any]:
    """The state of this unit's services as plain data."""
    return {
        "name": store.get("name"),
        "pan_id": store.get("pan_id"),
        "release": os.environ.get("PANOPTES_RELEASE_TAG"),
        "image": os.environ.get("PANOPTES_UTILS_IMAGE"),
        "version": version(),
        "config_file": str(store.path),
        "saving": store.save_local,
        "writes_need_token": token,
        "hub": await hub_state(hub_port),
    }


async def hub_state(hub_port: int) -> Dict[str, Any]:
    """What the messaging hub says of itself; `{"state": "down"}` with the reason where it says nothing."""
    loop, text = asyncio.get_running_loop(), b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, f"\0panoptes-messaging-hub-{hub_port}")
            while True:
                part = await asyncio.wait_for(loop.sock_recv(connection, 65536), timeout=1)
                if not part:
                    return {"state": "up", **json.loads(text)}
                text += part
        except asyncio.TimeoutError:
            return {"state": "down", "reason": "no answer within 1 s"}
        except (OSError, ValueError):
            return {"state": "down", "reason": f"no hub with port {hub_port} is running"}


@lru_cache(maxsize=1)
def version() -> str:
    """The version of panoptes_utils."""
    return (Path(__file__).parent.parent / "VERSION").read_text(encoding="utf-8").strip()

"""What the page shows besides the configuration: which unit, which release, whether the hub lives."""

import asyncio
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict

from panoptes_utils.config.store import ConfigStore
from panoptes_utils.messaging import stats_address
from panoptes_utils.messaging.told import LONGEST, understood


async def report(store: ConfigStore, hub_port: int, token: bool) -> Dict[str, Any]:
    """The state of this unit's services as plain data."""
    return {
        "name": store.get("name", secret=False),
        "pan_id": store.get("pan_id", secret=False),
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
            await loop.sock_connect(connection, stats_address(hub_port))
            deadline = loop.time() + 1
            while len(text) <= LONGEST:
                part = await asyncio.wait_for(loop.sock_recv(connection, 65536), deadline - loop.time())
                if not part:
                    break
                text += part
            return {"state": "up", **understood(text, connection, hub_port)}
        except asyncio.TimeoutError:
            return {"state": "down", "reason": "no answer within 1 s"}
        except OSError:
            return {"state": "down", "reason": f"no hub with port {hub_port} is running"}


@lru_cache(maxsize=1)
def version() -> str:
    """The version of panoptes_utils."""
    return (Path(__file__).parent.parent / "VERSION").read_text(encoding="utf-8").strip()

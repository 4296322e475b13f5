"""The lab's network and, at a fixed address in it, a registry with TLS from the lab's own CA."""

import hashlib
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import docker

from . import authority
from .console import LabError, as_root, run, step
from .settings import LABEL, NETWORK, State, cache, registry_address, subnet

CONTAINER = f"{NETWORK}-registry"
_WAIT = 30  # seconds for the registry to answer


def up(api: docker.DockerClient, state: State, image: str) -> Path:
    """Bring network and registry up and let this machine trust it; returns the path of the CA's certificate."""
    _network(api)
    address = registry_address().split(":")[0]
    ca_file = authority.up(cache() / "tls", address)
    _trust(state, ca_file)
    key = hashlib.sha256(f"{image} {registry_address()} {NETWORK}".encode() + ca_file.read_bytes()).hexdigest()
    try:
        container = api.containers.get(CONTAINER)
        if container.labels.get(f"{LABEL}.key") == key and container.status == "running":
            return ca_file
        container.remove(force=True)
    except docker.errors.NotFound:
        pass
    with step(f"registry at {registry_address()}"):
        data = cache() / "registry"
        data.mkdir(exist_ok=True)
        api.containers.run(
            image,
            name=CONTAINER,
            detach=True,
            network=NETWORK,
            networking_config={NETWORK: api.api.create_endpoint_config(ipv4_address=address)},
            user=f"{os.getuid()}:{os.getgid()}",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            volumes={str(data): {"bind": "/data"}, str(cache() / "tls"): {"bind": "/tls", "mode": "ro"}},
            restart_policy={"Name": "unless-stopped"},
            labels={LABEL: NETWORK, f"{LABEL}.key": key},
        )
        _wait(api, ca_file)
    return ca_file


def _network(api: docker.DockerClient) -> None:
    wanted = str(subnet())
    try:
        network = api.networks.get(NETWORK)
    except docker.errors.NotFound:
        with step(f"network {NETWORK} ({wanted})"):
            pool = docker.types.IPAMPool(
                subnet=wanted,
                gateway=str(subnet()[1]),
                iprange=f"{subnet()[8]}/29" if subnet().prefixlen > 28 else str(list(subnet().subnets(1))[1]),
            )
            try:
                api.networks.create(
                    NETWORK, driver="bridge", labels={LABEL: NETWORK}, ipam=docker.types.IPAMConfig(pool_configs=[pool])
                )
            except docker.errors.APIError as error:
                raise LabError(
                    f"network {wanted} is not available ({error.explanation}); choose another with PANOPTES_LAB_SUBNET"
                ) from None
        return
    found = network.attrs["IPAM"]["Config"][0]["Subnet"]
    if found != wanted:
        raise LabError(
            f"network {NETWORK} is {found}, not PANOPTES_LAB_SUBNET={wanted}; "
            "run `python -m lab clean` first, or leave the variable out"
        )


def _trust(state: State, ca_file: Path) -> None:
    """The engine reads certs.d at each request: no restart."""
    folder = Path("/etc/docker/certs.d") / registry_address()
    target = folder / "ca.crt"
    if not target.exists() or target.read_bytes() != ca_file.read_bytes():
        state.add("trust", str(folder))
        run(as_root(["install", "-D", "-m", "0644", str(ca_file), str(target)]))


def answers(ca_file: Path, path: str = "/v2/") -> bool:
    """Whether the registry serves a path over TLS that the lab's CA vouches for."""
    request = urllib.request.Request(
        f"https://{registry_address()}{path}",
        method="HEAD",
        headers={"Accept": "application/vnd.docker.distribution.manifest.list.v2+json"},
    )
    # No proxy: the registry is on this machine.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
    )
    try:
        with opener.open(request, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _wait(api: docker.DockerClient, ca_file: Path) -> None:
    deadline = time.monotonic() + _WAIT
    while not answers(ca_file):
        if time.monotonic() > deadline:
            log = api.containers.get(CONTAINER).logs(tail=15).decode(errors="replace")
            raise LabError(f"the registry does not answer at {registry_address()} after {_WAIT} s\n{log}")
        time.sleep(0.2)

"""Releases to try on a unit: good ones, and one for each way an image can be bad, in the lab's registry.

Each is the real panoptes-utils image plus a small layer; nothing in it is a stand-in. Manifests
that no builder would make (wrong architecture, missing platform) are put into the registry as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from .flavours import FLAVOURS
from .settings import read_lab

BIN = "/opt/conda/envs/panoptes-env/bin"
OCI = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
SIGNATURES = "application/vnd.oci.image.manifest.v1+json"

# Programs put in front of the real ones; `$real` is the one they stand before.
CONFIG, HUB = "panoptes-config-server", "panoptes-messaging-hub"
BAD = {
    "unhealthy": (CONFIG, 'case "$*" in *health*) exit 1;; esac; exec $real "$@"'),
    "exits-0": (HUB, 'case "$*" in *health*) exec $real "$@";; esac; exit 0'),
    "crashes-at-20-s": (CONFIG, 'case "$*" in *health*) exec $real "$@";; esac; exec timeout 20 $real "$@"'),
    "second-pair-dead": (HUB, 'case "$*" in *health*) exit 0;; esac; exec $real --pair 6500 6501'),
    "rejects-configuration": (
        CONFIG,
        'case "$*" in *health*) exec $real "$@";; esac; '
        'echo "pocs.yaml: pan_id: PAN000 is not a unit of this release" >&2; exit 1',
    ),
    "spoils-configuration": (
        CONFIG,
        'case "$*" in *health*) exec $real "$@";; esac; '
        "echo 'pan_id: PAN666' > /var/panoptes/conf_files/pocs_local.yaml; exit 1",
    ),
    "no-such-program": (CONFIG, None),
}


class Releases:
    """Builds, pushes and tags images of a flavour (this machine's own if none is named); units look at `source`.

    `folder` in the registry is one's own where other tests may offer releases at the same time.
    """

    def __init__(self, flavour: str = "", folder: str = "update-tests") -> None:
        self.lab = read_lab()
        flavour = flavour or self.lab["architecture"]
        self.registry = self.lab["registry"]
        self.path = f"{folder}/{flavour}/panoptes-utils"  # scenarios may run side by side
        self.source = f"{self.registry}/{self.path}:latest"
        self.base = f"{self.registry}/panoptes-utils:{flavour}"
        _, self.architecture, *variant = FLAVOURS[flavour].platform.split("/")
        self.variant = "".join(variant)
        self._tls = ssl.create_default_context(cafile=self.lab["ca_file"])
        self.digests: dict[str, str] = {}
        self.index = ""  # digest of what `latest` is now

    def prepare(self, name: str, size: int = 100_000) -> str:
        """Builds and pushes a release (`good-…` or a key of BAD) with a layer of `size` bytes; its digest."""
        if name not in self.digests:
            image = f"{self.registry}/{self.path}:{name}"
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "noise").write_bytes(os.urandom(size))  # does not compress
                (Path(folder) / "Dockerfile").write_text(self._dockerfile(name))
                platform = "/".join(filter(None, ("linux", self.architecture, self.variant)))
                self._docker("build", "--quiet", "--platform", platform, "--tag", image, folder)
            self._docker("push", "--quiet", image)
            _, _, self.digests[name] = self._request("HEAD", f"manifests/{name}")
        return self.digests[name]

    def offer(self, name: str, size: int = 100_000) -> str:
        """Makes `latest` an index with this release for this machine's platform; the platform's digest."""
        digest = self.prepare(name, size)
        self._put_index([(digest, self.architecture, self.variant)])
        return digest

    def offer_without_this_platform(self) -> None:
        """`latest` has images, but none for this machine."""
        digest = self.prepare("good-0")
        self._put_index([(digest, "s390x", ""), (digest, "riscv64", "")])

    def offer_wrong_architecture(self) -> str:
        """`latest` promises this platform, and the image behind it is made for another."""
        digest = self.prepare("good-0")
        _, body, _ = self._request("GET", f"manifests/{digest}")
        manifest = json.loads(body)
        _, config, _ = self._request("GET", f"blobs/{manifest['config']['digest']}")
        wrong = json.dumps({**json.loads(config), "architecture": "s390x"}).encode()
        manifest["config"].update(digest=self._upload(wrong), size=len(wrong))
        body = json.dumps(manifest).encode()
        self._request("PUT", "manifests/wrong", body, OCI)
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        self._put_index([(digest, self.architecture, self.variant)])
        return digest

    def sign(self, private_key: Path, names: str = "", damaged: bool = False) -> None:
        """Signs what `latest` is, as `cosign sign --key` does; `names` is the digest in the signature, if another."""
        image = {"docker-manifest-digest": names or self.index}
        kind = "cosign container image signature"
        critical = {"identity": {"docker-reference": self.path}, "image": image, "type": kind}
        payload = json.dumps({"critical": critical, "optional": None}).encode()
        command = ["openssl", "dgst", "-sha256", "-sign", str(private_key)]
        made = subprocess.run(command, input=payload, capture_output=True, check=True).stdout
        payload += b" " * damaged
        layer = {
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": self._upload(payload),
            "size": len(payload),
            "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(made).decode()},
        }
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self._upload(b"{}"), "size": 2}
        document = {"schemaVersion": 2, "mediaType": SIGNATURES, "config": config, "layers": [layer]}
        tag = self.index.replace(":", "-") + ".sig"
        self._request("PUT", f"manifests/{tag}", json.dumps(document).encode(), SIGNATURES)

    def save(self, name: str, target: Path) -> None:
        """`docker save` of a release: a bundle."""
        self.prepare(name)
        self._docker("save", "--output", str(target), f"{self.registry}/{self.path}:{name}")

    def remove_images(self) -> None:
        """Removes what was built, from the machine's engine."""
        for name in self.digests:
            self._docker("image", "rm", "--force", f"{self.registry}/{self.path}:{name}")

    def _dockerfile(self, name: str) -> str:
        lines = [f"FROM {self.base}", "COPY noise /opt/noise"]
        if name in BAD:
            program, script = BAD[name]
            place = f"{BIN}/{program}"
            lines.append("USER root")
            if script is None:
                lines.append(f"RUN rm {place}")
            else:
                script = "#!/bin/sh\nreal=" + place + ".real\n" + script + "\n"
                quoted = script.replace("\\", "\\\\").replace("'", "'\\''").replace("\n", "\\n").replace("%", "%%")
                lines.append(f"RUN mv {place} {place}.real && printf '{quoted}' > {place} && chmod 755 {place}")
            lines.append("USER panoptes")
        return "\n".join(lines) + "\n"

    def _put_index(self, entries: list[tuple[str, str, str]]) -> None:
        manifests = []
        for digest, architecture, variant in entries:
            _, body, _ = self._request("GET", f"manifests/{digest}")
            platform = {"os": "linux", "architecture": architecture}
            if variant:
                platform["variant"] = variant
            manifests.append({"mediaType": OCI, "digest": digest, "size": len(body), "platform": platform})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        _, _, self.index = self._request("PUT", "manifests/latest", json.dumps(document).encode(), INDEX)

    def _upload(self, blob: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        headers, _, _ = self._request("POST", "blobs/uploads/", b"")
        place = headers["Location"]
        place += ("&" if "?" in place else "?") + f"digest={digest}"
        self._request("PUT", place, blob, "application/octet-stream")
        return digest

    def _request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple:
        url = path if path.startswith("http") else f"https://{self.registry}/v2/{self.path}/{path}"
        request = urllib.request.Request(url, data=body, method=method)
        request.add_header("Accept", f"{OCI}, {INDEX}")
        if kind:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
            return response.headers, response.read(), response.headers.get("Docker-Content-Digest", "")

    def _docker(self, *arguments: str) -> str:
        command = [self.lab["docker_cli"], "--host", self.lab["docker_host"], *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout

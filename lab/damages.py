"""What can be damaged on a unit, and how; `damage_on_unit.py` does it."""

HOWS = ("emptied", "cut in half", "zero bytes", "one bit flipped", "removed")
STORE = (
    "content of the module's layer",
    "content of the lowest layer",
    "link of a layer",
    "short name of a layer",
    "layers below a layer",
    "layer metadata cache-id",
    "layer metadata diff",
    "layer metadata parent",
    "layer metadata size",
    "layer metadata tar-split.json.gz",
    "image configuration",
    "names of images",
    "container configuration",
    "container's host configuration",
    "network database",
    "volume database",
)
# What the engine can do without, or makes anew: three ways are enough.
LESSER_HOWS = ("emptied", "zero bytes", "removed")
LESSER = (
    "container's init-id",
    "container's mount-id",
    "container's parent",
    "container's hostname",
    "container's hosts",
    "container's resolv.conf",
    "container's resolv.conf.hash",
    "container's local-logs/container.log",
    "origin of a layer, diffid-by-digest",
    "origin of a layer, v2metadata-by-diffid",
    "builder's cache.db",
    "builder's containerdmeta.db",
    "builder's history.db",
    "builder's metadata_v2.db",
    "builder's snapshots.db",
    "image's last update",
    "committed mark of a layer",
    "engine's id",
    "device of the volumes",
)
OWN = (
    "release file",
    "Compose file",
    "settings",
    "state",
    "copy of the state",
    "history",
    "record of verify",
    "options of the engine",
    "service of the engine",
)
NO_CONTENT = {"short name of a layer", "device of the volumes"}  # a link and a device are there or not

# Without a file: what people, other programs and the engine itself do.
DEEDS = {
    "containers stopped": "docker stop config-server messaging-hub",
    "containers removed": "docker rm --force config-server messaging-hub",
    "one container renamed": "docker rename config-server somebody && docker stop somebody",
    "container killed for good": "docker update --restart no messaging-hub && docker kill messaging-hub",
    "everything pruned": "docker rm --force config-server messaging-hub; docker image rm --force"
    " $(docker image ls --quiet --filter reference='*/heal-tests/*/*')",
    "image without a name": "docker kill config-server; docker image rm --force"
    " $(sed -n s/PANOPTES_UTILS_IMAGE=//p /etc/panoptes/release.env)",
    "engine stopped": "systemctl stop docker.socket docker",
    "engine disabled and stopped": "systemctl disable --now docker.socket docker",
    "engine masked": "systemctl stop docker.socket docker; systemctl mask docker.service",
    "Compose file names one service": "sed -i '/^  messaging-hub:/,/^  [a-z]/{/^  messaging-hub:/d}'"
    " /etc/panoptes/compose.yaml; docker rm --force messaging-hub",
}

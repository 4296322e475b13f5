"""Messages between the programs of a unit, through ZeroMQ.

Programs use `PanMessaging`; the hub that stands between them is the command `panoptes-messaging-hub`.
"""

from panoptes_utils.lazy import load_when_used

# The hub subscribes to this at every publisher, after all that its subscribers asked for: who has seen it knows
# that from now on nothing that it sends gets lost. No topic can begin with this byte.
HUB_READY = b"\xffready"
# Before that (subscriptions go out in the order of their bytes) it subscribes to this with the length of the longest
# message that it takes, in bytes and decimal digits.
HUB_LIMIT = b"\xfflimit:"


def stats_address(in_port: int) -> str:
    """The Unix socket (abstract: no file, this machine only) on which a hub tells its statistics.

    Args:
        in_port: that of its first pair.
    """
    return f"\0panoptes-messaging-hub-{in_port}"


# The hub itself sends no message: it does not load what makes and reads them.
__getattr__, __dir__, __all__ = load_when_used(__name__, {"PanMessaging": "messenger"})

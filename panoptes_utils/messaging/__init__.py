"""Messages between the programs of a unit, through ZeroMQ.

Programs use `PanMessaging`; the hub that stands between them is the command `panoptes-messaging-hub`.
"""

from panoptes_utils.messaging.messenger import PanMessaging

__all__ = ["PanMessaging"]

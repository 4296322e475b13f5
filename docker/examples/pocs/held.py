"""Constraints for pip: what panoptes-utils itself needs keeps its version, all else of its environment may get newer.

held.py NAME... leaves out what is named: it may get newer too.
"""

import importlib.metadata as metadata
import re
import sys


def plain(name):
    """A name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# Of its extras those that the image has: for the services and for images.
needed = {
    plain(re.match(r"[\w.-]+", line)[0])
    for line in metadata.requires("panoptes-utils")
    if re.search(r"extra == .(services|images)|^[^;]*$", line)
}
held = (needed | {"panoptes-utils"}) - {plain(name) for name in sys.argv[1:]}
for found in sorted(metadata.distributions(), key=lambda each: plain(each.name), reverse=True):
    sign = "==" if plain(found.name) in held else ">="
    # The version that Debian gave its own build (+dfsg) is older than none.
    print(f"{found.name}{sign}{found.version if sign == '==' else found.version.split('+')[0]}")

"""The names of `panoptes_utils.images` once more: programs of PANOPTES ask for them here."""

from panoptes_utils.images.pixels import crop_data, mask_saturated
from panoptes_utils.images.preview import make_timelapse

__all__ = ["crop_data", "make_timelapse", "mask_saturated"]

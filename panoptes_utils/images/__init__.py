"""Images of a unit: previews, crops, and (in its modules) FITS, raw files, Bayer colours, focus, alignment."""

from panoptes_utils.lazy import load_when_used

_HOMES = {
    "crop_data": "pixels",
    "mask_saturated": "pixels",
    "make_images_dir": "preview",
    "make_pretty_image": "preview",
    "make_timelapse": "preview",
}

__getattr__, __dir__, __all__ = load_when_used(__name__, _HOMES)

"""Images of a unit: previews, crops, and (in its modules) FITS, raw files, Bayer colours, focus, alignment."""

from importlib import import_module

_HOME = {
    "crop_data": "pixels",
    "mask_saturated": "pixels",
    "make_images_dir": "preview",
    "make_pretty_image": "preview",
    "make_timelapse": "preview",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    """Load a function from the module that defines it, when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})

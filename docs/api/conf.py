"""Settings of `make docs`: the pages of the module, from its docstrings. Needs no network."""

from pathlib import Path

import panoptes_utils

project = "panoptes-utils"
author = "Project PANOPTES"
version = release = panoptes_utils.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "alabaster"
html_theme_options = {"description": "Base software of a PANOPTES unit", "page_width": "1100px", "fixed_sidebar": True}
html_show_copyright = False
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes_style")]
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "none"

# One page a part, in the order of index.rst: title, then the modules on it.
PAGES = {
    "fits": (
        "FITS images",
        [f"images.fits.{name}" for name in ("opening", "io", "solve", "attempts", "hints", "solution", "evidence")]
        + [f"images.fits.{name}" for name in ("wcsinfo", "pack", "metadata")],
    ),
    "detection": ("Sources and stars", ["sources.detect", "sources.match", "sources.catalog", "images.fits.detect"]),
    "images": (
        "Other images",
        [f"images.{name}" for name in ("preview", "pixels", "cr2", "bayer", "focus", "plot", "polar_alignment")]
        + ["images.fits.preview"],
    ),
    "time": ("Time, sky, small things", ["time", "horizon", "utils", "library", "data"]),
    "records": ("Records and text", ["database", "database.base", "database.memory", "database.file", "serializers"]),
    "devices": (
        "Devices",
        ["rs232", "serial.device", "theskyx", "serial_handlers"]
        + [f"serial_handlers.protocol_{name}" for name in ("arduinosimulator", "buffers", "hooked", "no_op")],
    ),
    "errors": ("Errors, logs, files, programs", ["error", "logging", "files", "process", "lazy"]),
}


def write_pages(app):
    """Write the pages beside index.rst where they differ, so that a second build reads only what changed."""
    folder = Path(app.srcdir) / "pages"
    folder.mkdir(exist_ok=True)
    for name, (title, modules) in PAGES.items():
        text = f"{title}\n{'=' * len(title)}\n"
        for module in modules:
            # A name is found where people import it from, not only where it is defined.
            text += f"\n{module}\n{'-' * len(module)}\n\n.. automodule:: panoptes_utils.{module}\n"
        page = folder / f"{name}.rst"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app):
    """Make the pages before Sphinx looks for them."""
    app.connect("builder-inited", write_pages)

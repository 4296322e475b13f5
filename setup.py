"""Packaging of panoptes_utils, panoptes_unit and panoptes_fleet; the settings of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
VERSION = (HERE / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()

# What the images, a unit and a controller run; in an image only the first is there.
PARTS = ["utils", "unit", "fleet"]
# What the two services need. Every name here is also a Debian 13 package for amd64, arm64 and armhf,
# because PyPI carries no ARMv7 wheels: docker/conda-environment-rpi.yaml lists them.
SERVICES = [
    "httptools",
    "pydantic>=2",
    "pyzmq>=24",
    "uvicorn>=0.30",
    "uvloop",
]
# What the image functions need.
IMAGES = [
    "astropy>=6",
    "matplotlib",
    "numpy>=1.24",
    "pandas",
    "photutils",
    "pillow",
    "pyserial",
    "requests",
    "scikit-image",
    "scipy",
    "sep",
]
# What provisions units and looks after many of them. ansible 12 is the last bundle for Python 3.11 on the controller.
CONTROLLER = [
    "ansible>=12",
    "ansible-runner>=2.4",
    "jinja2>=3.1",
    "pydantic>=2",
    "pyyaml>=6",
    "rich",
]
# What makes the lab, and units in it.
DEPLOY = [*CONTROLLER, "docker>=7", "requests"]
TESTS = [
    "ansible-lint",
    "cryptography",
    "debsbom[spdx]",
    "hypothesis",
    "imageio-ffmpeg",
    "molecule>=26",
    "mypy>=1.18",
    "py-rattler",
    "pytest>=8",
    "pytest-cov",
    "pytest-testinfra>=10",
    "ruff",
    "schemathesis>=4",
    "types-pyyaml",
    "types-requests",
    "yamllint",
]
# Suffixes of the data files inside the package: pages of the services, settings of SExtractor.
DATA = ["html", "js", "css", "svg", "sex", "param", "conv"]

setup(
    name="panoptes-utils",
    version=VERSION,
    description="Deployment and base software of a PANOPTES observatory unit",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    url="https://www.projectpanoptes.org",
    # The last is the name that PANOPTES software says, in a namespace that others share.
    packages=[
        *find_namespace_packages(include=[f"panoptes_{part}{below}" for part in PARTS for below in ("", ".*")]),
        "panoptes.utils",
    ],
    include_package_data=True,
    package_data={"panoptes_fleet": ["*.j2"], "panoptes_utils": ["VERSION", *(f"**/*.{kind}" for kind in DATA)]},
    python_requires=">=3.9",
    install_requires=["click>=8", "loguru", "rich", "ruamel.yaml"],
    extras_require={
        "services": SERVICES,
        # The three names that PANOPTES software says; docs/decisions/version-number.md.
        "config": SERVICES,
        "testing": ["pytest>=8", "pytest-cov"],
        "all": [*SERVICES, *IMAGES, "pytest>=8", "pytest-cov"],
        "images": IMAGES,
        "controller": CONTROLLER,
        "deploy": DEPLOY,
        "tests": TESTS,
        "docs": ["sphinx>=7"],
    },
    entry_points={
        "console_scripts": [
            "panoptes-config-server = panoptes_utils.config.cli:main",
            "panoptes-fleet = panoptes_fleet.__main__:run",
            "panoptes-messaging-hub = panoptes_utils.messaging.cli:main",
            "panoptes-utils = panoptes_utils.cli:main",
        ]
    },
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
)

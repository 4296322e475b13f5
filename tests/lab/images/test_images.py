"""The two images of this machine's flavour, run as a unit runs them: read-only, no capabilities, not root."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from image_checks import TOOLS, solve_simulated_sky

TOP = Path(__file__).parents[3]
SPECIFICATIONS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    for path in sorted((TOP / "docker").glob("conda-environment-*.yaml"))
}


@pytest.mark.parametrize("name", sorted(SPECIFICATIONS))
def test_every_specification_is_one_that_conda_understands(name):
    rattler = pytest.importorskip("rattler", reason="needs py-rattler, conda's matcher")
    for text in SPECIFICATIONS[name]:
        assert rattler.MatchSpec(text, strict=True).name.normalized


def test_both_lists_name_the_same_packages():
    names = [{re.split(r"[<>=! ]", text)[0] for text in listed} for listed in SPECIFICATIONS.values()]
    assert names[0] == names[1]


def test_setup_and_the_lists_agree():
    text = (TOP / "setup.py").read_text(encoding="utf-8")
    wanted = {
        re.split(r"[<>=]", name)[0]
        for block in ("SERVICES", "IMAGES")
        for name in re.findall(r'^    "([^"]+)"', re.search(rf"^{block} = \[(.*?)^\]", text, re.M | re.S)[1], re.M)
    }
    listed = {
        re.split(r"[<>=! ]", text)[0].replace("-base", "") for text in SPECIFICATIONS["conda-environment-rpi.yaml"]
    }
    assert wanted - listed == set()


@pytest.mark.lab
class TestThisMachine:
    def test_tools_and_index_files(self, lab):
        base = lab["images"]["panoptes-base"].replace(":latest", f":{lab['architecture']}")
        done = lab.run(base, "sh", "-ec", TOOLS)
        assert "Source Extractor" in done.stdout
        ours = lab.run(base, "sh", "-c", "ls /opt /usr/lib/python3/dist-packages | grep -i panoptes", check=False)
        assert ours.stdout == "", "panoptes-base carries PANOPTES software"

    def test_no_program_runs_as_somebody_else(self, lab, utils_image):
        base = lab["images"]["panoptes-base"].replace(":latest", f":{lab['architecture']}")
        # As root, who can look into every folder, and not confined, so that nothing hides a file from it.
        find = ("find", "/", "-xdev", "-type", "f", "-perm", "/6000")
        for image in (base, utils_image):
            assert lab.docker("run", "--rm", "--network", "none", "--user", "0", image, *find).stdout == "", image

    def test_command_works_without_a_shell(self, lab, utils_image):
        version = (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()
        assert version in lab.run(utils_image, "panoptes-utils", "version").stdout

    def test_default_command_is_zsh_inside_the_environment(self, lab, utils_image):
        assert lab.inspect(utils_image)["Config"]["Cmd"] == ["zsh"]
        script = "whence -p python; echo $CONDA_DEFAULT_ENV; echo $+functions[_zsh_autosuggest_start] $HISTFILE; whoami"
        done = lab.run(utils_image, "zsh", "-ic", script)
        assert done.stdout.splitlines() == [
            "/opt/conda/envs/panoptes-env/bin/python",
            "panoptes-env",
            "1 /tmp/.zsh_history",
            "panoptes",
        ]

    def test_conda_activate_in_zsh_and_bash(self, lab, utils_image):
        script = (
            "source /opt/conda/etc/profile.d/conda.sh; conda deactivate; echo A${CONDA_DEFAULT_ENV-none};"
            "conda activate panoptes-env; echo B$CONDA_DEFAULT_ENV $(command -v python);"
            "conda activate other || echo C$?"
        )
        for shell in ("zsh", "bash"):
            done = lab.run(utils_image, shell, "-c", script)
            assert done.stdout.split() == ["Anone", "Bpanoptes-env", "/opt/conda/envs/panoptes-env/bin/python", "C1"], (
                shell
            )

    def test_versions_match_the_specifications(self, lab, utils_image):
        rattler = pytest.importorskip("rattler", reason="needs py-rattler, conda's matcher")
        script = (
            "import importlib.metadata as m, json, platform\n"
            "found = {d.name.lower(): d.version for d in m.distributions()}\n"
            "print(json.dumps(found | {'python': platform.python_version()}))"
        )
        installed = json.loads(lab.run(utils_image, "python", "-c", script).stdout)
        flavour = "rpi" if lab["architecture"] == "arm32v7" else "amd64"
        for text in SPECIFICATIONS[f"conda-environment-{flavour}.yaml"]:
            match = rattler.MatchSpec(text)
            name = {"matplotlib-base": "matplotlib"}.get(match.name.normalized, match.name.normalized)
            found = (
                installed.get(name) or installed.get(name.replace(".", "-")) or installed.get(name.replace("-", "_"))
            )
            assert found, f"{name} is not in the image"
            if match.version:
                assert rattler.VersionSpec(str(match.version)).matches(rattler.Version(found)), f"{text}: {found}"

    def test_labels_say_where_it_comes_from(self, lab, utils_image):
        labels = lab.inspect(utils_image)["Config"]["Labels"]
        prefix = "org.opencontainers.image."
        assert labels[prefix + "title"] == "panoptes-utils"
        assert labels[prefix + "version"] == (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels[prefix + "revision"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels[prefix + "created"])
        assert labels["org.projectpanoptes.base.revision"]
        assert not lab.inspect(utils_image)["Config"].get("Healthcheck"), "health is the compose file's matter"

    def test_nothing_of_the_build_is_left(self, lab, utils_image):
        script = (
            "for tool in gcc cc make git; do command -v $tool; done;"
            "find /var/lib/apt/lists /var/cache/apt/archives -name '*_Packages*' -o -name '*.deb';"
            "grep -rl 'BEGIN CERTIFICATE' /usr/local/share/ca-certificates;"
            "dpkg --audit; ls /etc/apt/apt.conf.d | grep -i proxy"
        )
        assert lab.run(utils_image, "sh", "-c", script, check=False).stdout == ""

    def test_image_carries_the_module_and_nothing_that_runs_elsewhere(self, lab, utils_image):
        script = (
            "from importlib.util import find_spec\n"
            "from pathlib import Path\n"
            "print(*(name for name in ('panoptes_unit', 'panoptes_fleet', 'lab', 'plugins') if find_spec(name)))\n"
            "print(*sorted(path.name for path in Path('/opt/panoptes-utils').iterdir() if path.is_dir()))"
        )
        elsewhere, folders = lab.run(utils_image, "python", "-c", script).stdout.splitlines()
        assert elsewhere == ""
        assert folders.split() == ["panoptes", "panoptes_utils", "scripts"]

    def test_module_is_its_own_small_layer(self, lab, utils_image):
        rows = lab.docker(
            "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", utils_image
        ).stdout.splitlines()
        sizes = [row.split("\t")[0] for row in rows if "panoptes_utils" in row or "pip install" in row]
        assert len(sizes) == 2
        assert all(size.endswith(("kB", "0B")) for size in sizes), sizes

    def test_simulated_sky_is_solved(self, lab, utils_image):
        assert solve_simulated_sky(lab, utils_image) < 30

    def test_pulls_anew_what_the_registry_serves_as_latest(self, lab):
        listed = json.loads(lab.docker("manifest", "inspect", lab["images"]["panoptes-utils"]).stdout)
        assert listed["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
        assert (
            "amd64" in {one["platform"]["architecture"] for one in listed["manifests"]}
            or lab["architecture"] != "amd64"
        )

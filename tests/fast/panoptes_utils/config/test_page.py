"""The page at `/`, in a real browser: Chromium without a window, driven through chromedriver's W3C interface."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from free_ports import free_ports

ARTIFACTS = Path(__file__).parents[4] / "artifacts"
DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    not (DRIVER and CHROMIUM), reason="chromium and chromedriver are not installed: scripts/install-test-tools.sh"
)


class Browser:
    """One tab."""

    def __init__(self, port):
        self._base = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": CHROMIUM,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1200,1150", "--hide-scrollbars"],
        }  # fmt: skip
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._base += "/" + self._send("", {"capabilities": capabilities})["sessionId"]

    def _send(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def go(self, address):
        self._send("/url", {"url": address})

    def run(self, script):
        return self._send("/execute/sync", {"script": script, "args": []})

    def wait(self, script):
        """Wait until the script gives something true, and give that."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.1)
        pytest.fail(f"never true: {script}\n{self.run('return document.body.innerText')}")

    def log(self):
        return self._send("/se/log", {"type": "browser"})

    def screenshot(self, name):
        ARTIFACTS.mkdir(exist_ok=True)
        (ARTIFACTS / name).write_bytes(base64.b64decode(self._send("/screenshot")))

    def dark(self):
        self._send("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": "dark"}]}})  # fmt: skip

    def close(self):
        self._send("", method="DELETE")


@pytest.fixture
def browser(tmp_path):
    port = free_ports(1)[0]
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    driver = subprocess.Popen([DRIVER, f"--port={port}"], env=environment, stdout=subprocess.DEVNULL)
    made = None
    try:
        deadline = time.monotonic() + 30
        while made is None:
            try:
                made = Browser(port)
            except urllib.error.HTTPError as error:
                pytest.fail(error.read().decode())
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield made
        made.close()
    finally:
        driver.terminate()
        driver.wait()


@pytest.fixture
def hub(tmp_path):
    """A running hub; gives its in port."""
    pytest.importorskip("zmq")
    ports = [str(port) for port in free_ports(2)]
    program = "import sys; from panoptes_utils.messaging.cli import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", program, "--pair", *ports], stderr=subprocess.PIPE, text=True)
    assert "forwarding" in process.stderr.readline()
    yield ports[0]
    process.terminate()
    process.wait()
    process.stderr.close()


TEXT = "return document.getElementById('{}').textContent"


def test_the_page_shows_the_unit(serve, unit, hub, browser):
    unit.write_text(unit.read_text() + 'notes: "<img src=x onerror=document.title=1>"\n')
    image = "registry.example/panoptes-utils@sha256:" + "a1b2c3d4" * 8
    server = serve("--hub-port", hub, env={"PANOPTES_RELEASE_TAG": "latest", "PANOPTES_UTILS_IMAGE": image})
    browser.go(f"http://127.0.0.1:{server.port}/")
    browser.wait("return document.getElementById('hub').classList.contains('up')")
    assert browser.run(TEXT.format("name")) == "Roof Unit"
    assert browser.run(TEXT.format("pan-id")) == "PAN042"
    assert browser.run(TEXT.format("release")) == "latest · a1b2c3d4a1b2"
    assert browser.run("return document.title") == "Roof Unit · PANOPTES"
    assert browser.run("return document.querySelectorAll('#pairs tr').length") == 1
    browser.screenshot("config-page.png")

    # A value is text, never markup.
    assert "<img src=x" in browser.run(TEXT.format("tree"))
    assert browser.run("return document.querySelectorAll('#tree img').length") == 0

    # Searching: in keys and in values, below closed branches, and back to everything.
    visible = "return [...document.querySelectorAll('#tree .leaf')].filter(n => n.offsetParent).map(n => n.innerText)"
    everything = len(browser.run(visible))
    search = "const s = document.getElementById('search'); s.value = '{}'; s.dispatchEvent(new Event('input'));"
    browser.run(search.format("CANON"))
    assert browser.run(visible) == ["model: canon_gphoto2"]
    assert browser.run(TEXT.format("found")) == "1 found"
    assert browser.run("return document.querySelector('#tree mark').textContent") == "canon"
    browser.screenshot("config-page-search.png")
    browser.run(search.format("latitude"))
    assert browser.run(visible) == ["latitude: 19.54 deg"]
    browser.run(search.format("no such thing"))
    assert browser.run(visible) == []
    browser.run(search.format(""))
    assert len(browser.run(visible)) >= everything

    # A change shows by itself, and so does the end of the server.
    server.ask("/set-config", {"name": "Tower Unit"})
    browser.wait("return document.getElementById('name').textContent === 'Tower Unit'")
    browser.dark()
    browser.screenshot("config-page-dark.png")
    errors = [entry for entry in browser.log() if entry["level"] == "SEVERE"]
    assert errors == []
    server.stop()
    browser.wait("return document.getElementById('server').classList.contains('down')")


def test_the_page_needs_nothing_from_elsewhere(server, browser):
    browser.go(f"http://127.0.0.1:{server.port}/")
    browser.wait("return document.getElementById('server').classList.contains('up')")
    loaded = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded
    assert all(address.startswith(f"http://127.0.0.1:{server.port}/") for address in loaded)
    assert "down" in browser.run("return document.getElementById('hub').className")


def test_a_page_elsewhere_cannot_change_the_configuration(server, browser, tmp_path):
    # The page of another origin: a file and, as far as the browser knows, a stranger.
    page = tmp_path / "evil.html"
    page.write_text("<title>x</title>")
    browser.go(page.as_uri())
    attack = f"""
        const url = 'http://127.0.0.1:{server.port}/set-config', body = '{{"name": "Evil"}}';
        return Promise.allSettled([
            fetch(url, {{method: 'POST', body, mode: 'no-cors', headers: {{'Content-Type': 'text/plain'}}}}),
            fetch(url, {{method: 'POST', body, headers: {{'Content-Type': 'application/json'}}}}),
            fetch('http://127.0.0.1:{server.port}/get-config').then(answer => answer.text()),
        ]).then(done => done.map(one => one.status));"""
    outcome = browser.run(attack)
    assert outcome[1:] == ["rejected", "rejected"]
    assert server.ask("/get-config", {"key": "name"})[1] == "Roof Unit"

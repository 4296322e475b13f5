"""Downloads, from a server on the loopback that behaves as badly as networks do."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from panoptes_utils import data, error

CONTENT = b"SIMPLE  =                    T" + bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every address; `cut` answers break off half-way, `ranges` says whether it can resume."""

    cut = 0
    ranges = True
    broken = frozenset()
    content = CONTENT

    def __init__(self):
        self.requests = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if self.path in server.broken:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut:
            server.cut -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def downloader(server, folder, **kwargs):
    return data.Downloader(data_folder=folder, index_url=server.url, earth_orientation=False, **kwargs)


def test_all_files_and_nothing_the_second_time(server, tmp_path):
    fetching = downloader(server, tmp_path / "deep" / "folder", narrow_field=True, verbose=True)
    assert fetching.download_all_files() is True
    names = sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir())
    assert names == [f"index-{n}.fits" for n in [*range(4110, 4119), *range(4210, 4219)]]
    assert all(path.read_bytes() == CONTENT for path in (tmp_path / "deep" / "folder").iterdir())
    asked = len(server.requests)
    assert asked == 18
    assert fetching.download_all_files() is True
    assert len(server.requests) == asked


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_is_resumed(server, tmp_path, ranges):
    server.cut, server.ranges = 2, ranges
    data.fetch(f"{server.url}/f", tmp_path / "f", magic=b"SIMPLE")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert not (tmp_path / "f.part").exists()
    resumed = [wanted for _, wanted in server.requests if wanted]
    assert len(resumed) == 2
    assert 0 <= len(CONTENT) // 2 - int(resumed[0].strip("bytes=-")) < data.CHUNK


def test_a_run_that_was_killed_is_resumed(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    data.fetch(f"{server.url}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.requests == [("/f", "bytes=1000-")]
    (tmp_path / "g.part").write_bytes(CONTENT)
    data.fetch(f"{server.url}/g", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == CONTENT
    (tmp_path / "h.part").write_bytes(CONTENT + b"too long")
    data.fetch(f"{server.url}/h", tmp_path / "h")
    assert (tmp_path / "h").read_bytes() == CONTENT


def test_a_connection_that_always_breaks_is_given_up(server, tmp_path):
    server.cut, server.ranges = 99, False
    with pytest.raises(error.BadConnection, match="after 5 attempts"):
        data.fetch(f"{server.url}/f", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_login_page_is_not_taken_for_the_file(server, tmp_path):
    server.content = b"<html>Pay for the network here</html>"
    with pytest.raises(error.BadConnection, match="login page"):
        data.fetch(f"{server.url}/f", tmp_path / "f", magic=b"SIMPLE")
    assert list(tmp_path.iterdir()) == []


def test_failures_stop_or_do_not_stop_the_rest(server, tmp_path):
    server.broken = {"/4100/index-4110.fits"}
    assert downloader(server, tmp_path / "a").download_all_files() is False
    assert len(list((tmp_path / "a").iterdir())) == 8
    assert downloader(server, tmp_path / "b", keep_going=False).download_all_files() is False
    assert list((tmp_path / "b").iterdir()) == []


def test_unreachable_server_is_given_up_after_some_attempts(tmp_path):
    with pytest.raises(error.BadConnection, match="attempts"):
        data.fetch("http://127.0.0.1:9/f", tmp_path / "f")


def test_files_are_downloaded_below_pandir(monkeypatch, tmp_path):
    monkeypatch.setenv("PANDIR", str(tmp_path))
    assert data.Downloader().data_folder == tmp_path / "astrometry" / "data"


class TestEarthOrientation:
    @pytest.fixture
    def fetching(self, server, tmp_path, monkeypatch):
        """A downloader of that table alone, from the test's server into the default folder."""
        from astropy.utils import iers

        monkeypatch.setenv("PANDIR", str(tmp_path))
        with iers.conf.set_temp("iers_auto_url", f"{server.url}/finals2000A.all"):
            yield data.Downloader(wide_field=False, index_url=server.url)

    def test_what_is_no_table_is_not_kept(self, server, fetching):
        assert fetching.download_all_files() is False
        server.broken = {"/finals2000A.all"}
        with pytest.raises(error.BadConnection, match="finals2000A.*404"):
            fetching.download_earth_orientation()
        assert list(fetching.data_folder.iterdir()) == []

    def test_it_is_fetched_once_a_week_and_used(self, server, fetching):
        from astropy.utils import iers

        from panoptes_utils import utils

        server.content = Path(iers.IERS_A_FILE).read_bytes()
        assert fetching.download_all_files() and fetching.download_all_files()
        assert len(server.requests) == 1
        (path,) = fetching.data_folder.iterdir()
        utils._earth_orientation.cache_clear()
        assert utils._earth_orientation().meta["data_path"] == str(path)
        os.utime(path, (0, 0))
        assert fetching.download_all_files() and len(server.requests) == 2
        path.write_text("damaged")
        utils._earth_orientation.cache_clear()
        assert len(utils._earth_orientation()) > 1000
        utils._earth_orientation.cache_clear()

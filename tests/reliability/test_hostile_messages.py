"""Whoever reaches the connection may send anything: the server stays up, and other sessions notice nothing."""

import http.client
import random
import shutil
import socket
from urllib.parse import quote, urlsplit

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed

from tests.reliability.drawing import PAGES
from tests.reliability.socket_visitor import visiting
from tests.serving import serving

TRACE = ("Traceback", 'File "', "site-packages")


@pytest.fixture(scope="module")
def quiet_server(built_home, tmp_path_factory):
    """A server of its own: address, home, and what it says."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(built_home, folder / "home")
    with serving(folder / "home", folder / "server.log") as (address, process):
        yield address, process, folder / "server.log"


def garbage(chance):
    """Bytes that are no message, half of one, or one that asks for the impossible."""
    message = BackMsg()
    match chance.randrange(7):
        case 0:
            return chance.randbytes(chance.randrange(1, 2000))
        case 1:
            message.rerun_script.query_string = "dataset=" + "%2e%2e%2f" * 1000
            return message.SerializeToString()[: chance.randrange(1, 500)]
        case 2:
            message.rerun_script.page_script_hash = "no such page"
            message.rerun_script.page_name = "../../app"
        case 3:
            message.rerun_script.fragment_id = "no such fragment"
        case 4:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = "$$ID-0000-" + "x" * 5000
            state.json_value = "[" * 50_000
        case 5:
            message.rerun_script.query_string = "&".join(f"{i}={chance.random()}" for i in range(5000))
        case 6:
            message.file_urls_request.request_id = "x"
            message.file_urls_request.session_id = "somebody else's"
            message.file_urls_request.file_names.extend(["../../etc/passwd"] * 100)
    return message.SerializeToString()


def test_garbage_ends_its_own_session_at_most(quiet_server, times, chance):
    address, process, _ = quiet_server
    with visiting(address) as bystander:
        before = bystander.visit("datasets", "dataset=tiny")
        for _ in range(times(15, 1000)):
            with visiting(address) as intruder:
                try:
                    for _ in range(chance.randrange(1, 4)):
                        intruder.send(garbage(chance))
                except ConnectionClosed:
                    pass
        assert process.poll() is None
        after = bystander.visit("datasets", "dataset=tiny")
    assert "tiny" in before and "tiny" in after
    for text in TRACE:
        assert text not in after


ODD = (
    "\0",
    "a\0b",
    "../../etc/passwd",
    "1e999",
    "nan",
    "-1",
    "9" * 400,
    "x" * 20_000,
    "[" * 10_000,
    "![](http://evil.example/x.png)",
    "",
    ",,,",
    "%ff%fe",
    "\N{ARABIC-INDIC DIGIT THREE}",
)
KEYS = (
    "dataset runs run sweep sweeps episode step target ask model preset evaluate evaluation lesson present do go name "
    "environment axis point points width horizon lab.step data.episodes data.seed quick.steps train.seed settings.of"
).split()


@pytest.mark.parametrize("page", PAGES)
def test_an_address_may_say_anything(quiet_server, page, times, chance):
    """Names that pages read from the address, with odd values."""
    address, process, _ = quiet_server
    with visiting(address) as visitor:
        for _ in range(times(1, 30)):
            query = "&".join(f"{key}={quote(chance.choice(ODD))}" for key in KEYS if chance.random() < 0.7)
            shown = visitor.visit("" if page == "home" else page, query)
            assert "a fault of seqrl itself" not in shown, query[:500]
            for text in TRACE:
                assert text not in shown, query[:500]
    assert process.poll() is None


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x00\xff" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /_stcore/upload_file/a/b HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /%00%0a%0d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /media/" + b"%2e%2e%2f" * 100 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["long path", "long header", "no HTTP", "version", "length", "control characters", "upwards"],
)
def test_requests_that_are_none_leave_the_server_up(quiet_server, request_line):
    address, process, _ = quiet_server
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request_line)
        connection.settimeout(2)
        try:
            answer = connection.recv(65_536)
        except (TimeoutError, ConnectionError):
            answer = b""
    assert b"Traceback" not in answer and b"root:" not in answer
    good = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    good.request("GET", "/_stcore/health")
    assert good.getresponse().status == 200 and process.poll() is None


def test_a_file_that_one_session_shows_is_not_found_by_another_name(quiet_server):
    """Names of media hold a hash of 224 bits of what they show; nothing lists them, and a guess finds nothing."""
    address, *_ = quiet_server
    parts = urlsplit(address)
    guesses = random.Random(0)
    for _ in range(50):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("GET", f"/media/{guesses.randbytes(28).hex()}.mp4")
        assert connection.getresponse().status == 404
        connection.close()
    for path in ("/media/", "/media", "/_stcore/upload_file/"):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert b".mp4" not in answer.read()
        connection.close()

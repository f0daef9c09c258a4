"""The server answers this machine and its own pages only."""

import http.client
from urllib.parse import urlsplit

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("browser")

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
FOREIGN = {
    "another origin": {"Origin": "http://evil.example"},
    "an origin that begins like ours": {"Origin": "http://127.0.0.1.evil.example"},
    "a name that was rebound to this machine": {"Host": "evil.example"},
}


@pytest.fixture
def ask(server):
    """``ask(method, path, headers)``: the status and the body of an answer."""
    address = urlsplit(server[0])

    def asked(method, path, headers):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        for name, value in ({"Host": address.netloc, "Content-Length": "0"} | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = b"" if answer.status == 101 else answer.read()
        connection.close()
        return answer.status, body

    return asked


def test_it_listens_on_the_loopback_only(server):
    port = urlsplit(server[0]).port
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert listening == {"127.0.0.1"}


def test_its_own_page_gets_through(ask, server):
    assert ask("GET", "/_stcore/stream", HANDSHAKE)[0] == 101
    assert ask("GET", "/_stcore/stream", HANDSHAKE | {"Origin": server[0]})[0] == 101


@pytest.mark.parametrize("who", FOREIGN)
def test_nobody_else_gets_a_session(ask, who):
    """Everything that a page shows and does goes through this connection."""
    assert ask("GET", "/_stcore/stream", HANDSHAKE | FOREIGN[who])[0] == 403


@pytest.mark.parametrize("who", [*FOREIGN, "nobody else"])
def test_no_upload_without_the_page_s_own_token(ask, who):
    headers = FOREIGN.get(who, {})
    assert ask("PUT", "/_stcore/upload_file/session/file", headers)[0] == 403
    forged = {"X-Xsrftoken": "forged", "Cookie": "_streamlit_xsrf=forged"}
    assert ask("PUT", "/_stcore/upload_file/session/file", headers | forged)[0] == 403


@pytest.mark.parametrize("who", FOREIGN)
def test_nothing_is_shared_with_other_origins(ask, who, server):
    for path in ("/", "/_stcore/host-config", "/media/guess.mp4"):
        address = urlsplit(server[0])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        connection.request("GET", path, headers=FOREIGN[who])
        assert connection.getresponse().getheader("Access-Control-Allow-Origin") is None
        connection.close()
    assert ask("GET", "/_stcore/host-config", {})[1].count(b"https://") == 0  # nobody may frame and steer it


@pytest.mark.parametrize(
    "path", ["/media/../app.py", "/media/%2e%2e/%2e%2e/etc/passwd", "/app/static/../app.py", "/static/%2e%2e/app.py"]
)
def test_no_path_leads_out(ask, path):
    status, body = ask("GET", path, {})
    assert b"import streamlit" not in body and b"root:" not in body
    assert status in (200, 400, 403, 404)  # 200 is the empty page, for every unknown path


def test_nobody_drives_it_without_a_browser(ask):
    assert ask("POST", "/_stcore/agent/interact", {})[0] == 403

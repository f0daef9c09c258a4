"""A session without a browser: what the page's own script sends and gets over its connection."""

from contextlib import contextmanager

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

WAIT_S = 60.0


class Visitor:
    """One session.

    Args:
        socket: an open connection.
    """

    def __init__(self, socket):
        self.socket = socket

    def open(self, page="", query=""):
        """Open a page, and return the messages that arrive until its script has finished."""
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = query
        self.socket.send(message.SerializeToString())
        shown = []
        while True:
            message = ForwardMsg.FromString(self.socket.recv(timeout=WAIT_S))
            if message.WhichOneof("type") == "script_finished":
                if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue
                return shown
            shown.append(message)

    def visit(self, page="", query=""):
        """Open a page, and return all that it shows as text."""
        return "\n".join(map(str, self.open(page, query)))

    def send(self, data):
        """Any bytes."""
        self.socket.send(data)


@contextmanager
def visiting(address):
    """A session with a server.

    Args:
        address: ``http://127.0.0.1:PORT``.

    Yields:
        A `Visitor`.
    """
    url = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
    with connect(url, origin=address, max_size=None, subprotocols=["streamlit"]) as socket:
        yield Visitor(socket)

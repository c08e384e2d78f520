"""A receiver of webhooks: whatever is posted is a wake-up to look, and nothing of it is believed.

Label Studio posts a webhook inside the annotator's own request, once, unsigned, and waits a second for the answer. So
the receiver answers at once, reads no more than it must, and many posts while one look is under way make one more look.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from schemas.errors import InputError, UserError

MAX_BODY = 1 << 20
"""bytes read and thrown away of one post; a longer one is cut off"""
MAX_WAITING = 32
"""connections served at once; more are closed unheard, as a flood deserves: the next look finds what they meant"""
AGAIN_SECONDS = 30.0
"""after a look that failed the next one comes without being woken"""
READ_SECONDS = 2.0
"""a sender that is slower is hung up on"""


class Receiver:
    """Listens on 127.0.0.1; `look` is called once per wake-up, never twice at a time."""

    def __init__(self, port: int, look: Callable[[], None], say: Callable[[str], None]) -> None:
        """Raises InputError when the port is taken. Port 0: any free one."""
        self._look, self._say = look, say
        self._woken, self._is_stopped = threading.Event(), threading.Event()
        try:
            self._server = _Server(("127.0.0.1", port), self._woken)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port}: {error}", expected="a free port", next="name another") from error

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def run(self) -> None:
        """Look at once, then after every wake-up, until `stop` or an interrupt."""
        listening = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        listening.start()
        again_at = time.monotonic()
        try:
            while not self._is_stopped.is_set():
                if self._woken.wait(timeout=0.2) or time.monotonic() >= again_at:
                    self._woken.clear()  # first: a post that comes during the look wakes once more
                    again_at = math.inf if self._is_seen() else time.monotonic() + AGAIN_SECONDS
        finally:
            self._server.shutdown()
            self._server.server_close()

    def stop(self) -> None:
        """End `run` after the look that is under way."""
        self._is_stopped.set()

    def _is_seen(self) -> bool:
        try:
            self._look()
        except UserError as error:
            # A platform that is down for a while, or another writer, must not end the listening.
            self._say(f"collect: {error}")
            return False
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # of 5 a flood fills the queue, and a sender's next try comes a second later

    def __init__(self, address: tuple[str, int], woken: threading.Event) -> None:
        super().__init__(address, _Handler)
        self.woken = woken
        self._seats = threading.BoundedSemaphore(MAX_WAITING)

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a connection in a thread of its own while there is a seat."""
        if not self._seats.acquire(blocking=False):
            self.woken.set()
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """As in the base class; the seat is given back at the end."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._seats.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Garbage and broken connections are no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_SECONDS
    server: _Server
    server_version = "tiebreak"
    sys_version = ""

    def do_POST(self) -> None:
        """A wake-up, whatever it says."""
        self.server.woken.set()
        self.send_response(204)
        self.end_headers()
        self.wfile.flush()
        self._throw_away()
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what strangers send is not written down."""

    def _throw_away(self) -> None:
        """Read a bounded part of the body: closing on unread bytes would reset the connection under the sender."""
        said = self.headers.get("Content-Length") or ""
        left = min(int(said), MAX_BODY) if said.isascii() and said.isdigit() and len(said) < 16 else 0
        while left > 0:
            piece = self.rfile.read1(min(left, 1 << 16))
            if not piece:
                return
            left -= len(piece)

"""A service that takes alerts over HTTP.

Belongs here: taking and keeping what is sent. Does not belong here: who sends.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Keeps alerts as (title, message) and counts fetches of the dead man's switch."""

    def __init__(self, port):
        self.alerts, self.fetched, self.came = [], 0, threading.Condition()
        self.url, self.switch = f"json://127.0.0.1:{port}", f"http://127.0.0.1:{port}/alive"

    def take(self, sent):
        with self.came:
            self.alerts.append((sent["title"], sent["message"]))
            self.came.notify_all()

    def fetch(self):
        with self.came:
            self.fetched += 1
            self.came.notify_all()

    def until(self, what, seconds=15):
        """Wait until something is true; whether it is."""
        with self.came:
            return self.came.wait_for(what, seconds)

    def told(self, code):
        """The messages of one kind."""
        return [message for title, message in self.alerts if title.endswith(f": {code}")]


@contextmanager
def receiving():
    """A receiver on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer()
            receiver.take(sent)

        def do_GET(self):
            self.answer()
            receiver.fetch()

        def answer(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

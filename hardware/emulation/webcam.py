"""A network camera on loopback: pictures from a function that renders, as a stream of JPEGs over HTTP.

OpenCV reads it with the same class as a webcam, so it stands in for one where the kernel has no virtual camera.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class StreamFault(Enum):
    """What the camera can be told to do wrong."""

    NONE = "none"
    FREEZE = "send nothing"
    REPEAT = "send the same picture again and again"
    HANG_UP = "close every connection and refuse new ones"


class EmulatedNetworkCamera:
    """Serves every client from a thread; `render` returns (height, width, 3) uint8 RGB."""

    def __init__(self, render: Callable[[], Image], fps: int = 30) -> None:
        self.fault = StreamFault.NONE
        self._render, self._period_s = render, 1.0 / fps
        self._image = render()
        self._stop = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if camera.fault is StreamFault.HANG_UP:
                    self.send_error(503)
                else:
                    camera._stream(self)

            def log_message(self, format: str, *args: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The stream's address."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _stream(self, client: BaseHTTPRequestHandler) -> None:
        client.send_response(200)
        client.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        client.end_headers()
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._period_s, time.monotonic())
            fault = self.fault
            if fault is StreamFault.HANG_UP:
                return
            if fault is StreamFault.FREEZE:
                continue
            if fault is not StreamFault.REPEAT:
                self._image = self._render()
            jpeg = cv2.imencode(".jpg", cv2.cvtColor(self._image, cv2.COLOR_RGB2BGR))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                client.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return

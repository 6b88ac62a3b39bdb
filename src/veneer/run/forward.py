"""A socket in a container that is an ssh agent's outside: owner and mode as the container needs them.

The agent's own socket cannot simply be mounted: it is the user's alone, and whose it is must not change.
"""

from __future__ import annotations

import contextlib
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.bundle import Bundle

MAX_CONNECTIONS = 64
"""At the same time: each takes two threads of ours.  Who is more waits in the socket's queue."""
_CHUNK = 64 << 10


class Forwarder:
    """Listens in the bundle at `path`; whoever connects there talks to `agent`, a socket's path on the host.

    `most` of them at the same time.
    """

    def __init__(
        self, bundle: Bundle, agent: str, *, mode: int, uid: int, gid: int, most: int = MAX_CONNECTIONS
    ) -> None:
        self._agent = agent
        self._places = threading.Semaphore(most)
        self._socket = socket.socket(socket.AF_UNIX)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._closing = False
        try:
            self.path = bundle.socket(self._socket, mode=mode, uid=uid, gid=gid)
            self._socket.listen()
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._accept, name="veneer-ssh-agent", daemon=True)
        self._thread.start()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        with self._guard:
            self._closing = True
            for each in self._open:
                with contextlib.suppress(OSError):  # the other end went first
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                inner, _ = self._socket.accept()
            except OSError:
                return  # shut down
            outer = socket.socket(socket.AF_UNIX)
            try:
                outer.connect(self._agent)
            except OSError:
                inner.close()  # the agent is gone: ssh says so best itself
                outer.close()
                self._places.release()
                continue
            with self._guard:
                if self._closing:
                    inner.close()
                    outer.close()
                    return
                self._open |= {inner, outer}
            threading.Thread(target=self._talk, args=(inner, outer), name="veneer-ssh-agent", daemon=True).start()

    def _talk(self, inner: socket.socket, outer: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(outer, inner), name="veneer-ssh-agent", daemon=True)
        back.start()
        _pump(inner, outer)
        back.join()
        with self._guard:
            self._open -= {inner, outer}
            inner.close()
            outer.close()
        self._places.release()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on all that comes, and then that no more will."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):  # one of them was what failed
                each.shutdown(socket.SHUT_RDWR)

"""Free ports on loopback that stay ours.

A port that is only looked up may be given to another program before ours opens it. Here the socket stays bound, and does
not listen: with SO_REUSEADDR the program under test can still bind and listen, the kernel gives the port to nobody else,
and while nobody listens a connection is refused.
"""

import socket


class Ports:
    def __init__(self):
        self._held = []

    def free(self) -> int:
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        self._held.append(holder)
        return holder.getsockname()[1]

    def close(self):
        for holder in self._held:
            holder.close()

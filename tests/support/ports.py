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
        for _ in range(20):
            holder = socket.socket()
            self._held.append(holder)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            # The kernel gives the ports of UDP on its own; one in use there is no use to a UDP listener.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                try:
                    datagrams.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise OSError("no port is free for both TCP and UDP")

    def close(self):
        for holder in self._held:
            holder.close()

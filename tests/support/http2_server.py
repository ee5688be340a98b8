"""A server that speaks HTTP/2 and nothing else, over TLS with `context`; it answers with what it got, as text."""

import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions


class Http2Server:
    def __init__(self, port: int, context=None):
        self.port, self.accepted, self._context = port, 0, context
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self._context:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        connection.sendall(http.data_to_send())
        heads, lengths = {}, {}
        try:
            while data := connection.recv(1 << 16):
                for event in http.receive_data(data):
                    stream = getattr(event, "stream_id", None)
                    if isinstance(event, h2.events.RequestReceived):
                        heads[stream], lengths[stream] = dict(event.headers), 0
                    elif isinstance(event, h2.events.DataReceived):
                        lengths[stream] += len(event.data)
                        http.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, h2.events.StreamEnded):
                        head = heads.pop(stream)
                        text = f"HTTP/2 {head[':path']} {head[':authority']}"
                        if lengths[stream]:
                            text += f" {lengths[stream]}"
                        http.send_headers(stream, [(":status", "200"), ("content-length", str(len(text)))])
                        http.send_data(stream, text.encode(), end_stream=True)
                connection.sendall(http.data_to_send())
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            connection.close()

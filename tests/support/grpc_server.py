"""A gRPC server and clients for it, on gRPC's own implementation; messages are bytes as they are."""

from concurrent import futures

import grpc

SERVICE = "test.Echo"


class GrpcServer:
    """`Unary` answers with its message, `Fail` with an error, `Chat` with each message as it comes, `Count` with as many as
    the message says."""

    def __init__(self, port: int, name: str = "grpc"):
        self.name, self.port, self.metadata = name, port, []
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Count": grpc.unary_stream_rpc_method_handler(self._count),
            "Sum": grpc.stream_unary_rpc_method_handler(self._sum),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        assert self._server.add_insecure_port(f"127.0.0.1:{port}") == port
        self._server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._server.stop(None)

    def _unary(self, message, context):
        self.metadata.append(dict(context.invocation_metadata()))
        context.set_trailing_metadata((("x-trailer", self.name),))
        return message

    def _fail(self, message, context):
        context.set_trailing_metadata((("x-trailer", self.name),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 %")

    def _chat(self, messages, context):
        for message in messages:
            yield b"re: " + message

    def _count(self, message, context):
        for n in range(int(message)):
            yield b"%d" % n

    def _sum(self, messages, context):
        return b"%d" % sum(len(m) for m in messages)


def channel(port: int, authority: str = "any.test"):
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.default_authority", authority), ("grpc.enable_retries", 0)])


def method(channel, name: str, service: str = SERVICE):
    """A callable for one of the server's methods."""
    make = {"Chat": channel.stream_stream, "Count": channel.unary_stream, "Sum": channel.stream_unary}.get(name, channel.unary_unary)
    return make(f"/{service}/{name}")

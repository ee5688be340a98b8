"""External authorization services: Envoy's protocol on gRPC's own server with the messages that gRPC publishes, and HTTP."""

import threading
import time
import warnings
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from envoy.config.core.v3 import base_pb2
    from envoy.service.auth.v3 import external_auth_pb2 as auth
    from envoy.service.auth.v3 import external_auth_pb2_grpc as auth_grpc
    from envoy.type.v3 import http_status_pb2


def option(name, value, **more):
    return base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value), **more)


class GrpcAuthz(auth_grpc.AuthorizationServicer):
    """Lets pass what has `x-token: good`; `answer` may be replaced by a function of the request."""

    def __init__(self, port: int):
        self.port, self.requests, self.answer = port, [], None
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        auth_grpc.add_AuthorizationServicer_to_server(self, self._server)
        assert self._server.add_insecure_port(self.address) == port
        self._server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._server.stop(None)

    def Check(self, request, context):
        self.requests.append(request.attributes)
        if self.answer:
            return self.answer(request.attributes, context)
        if request.attributes.request.http.headers.get("x-token") == "good":
            return allowed(headers=[option("x-user", "ada")], headers_to_remove=["x-token"])
        return denied(401, "who are you?", headers=[option("www-authenticate", "Bearer")])


def allowed(**fields):
    return auth.CheckResponse(status={"code": 0}, ok_response=auth.OkHttpResponse(**fields))


def denied(code, body, **fields):
    status = http_status_pb2.HttpStatus(code=code)
    return auth.CheckResponse(status={"code": 7}, denied_response=auth.DeniedHttpResponse(status=status, body=body, **fields))


class HttpAuthz:
    """As GrpcAuthz, by HTTP. A query of `authz=CODE` is answered with that status."""

    def __init__(self, port: int):
        self.port, self.requests = port, []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                service.requests.append({"method": self.command, "path": self.path, "headers": self.headers, "body": body})
                if "authz=slow" in self.path:
                    time.sleep(3)
                good = self.headers.get("authorization") == "Bearer good"
                code = int(self.path.split("authz=")[1]) if "authz=" in self.path and "slow" not in self.path else 200 if good else 401
                text = b"allowed" if code == 200 else b"who are you?"
                self.send_response(code)
                headers = [("x-user", "ada"), ("set-cookie", "a=1"), ("www-authenticate", "Bearer"), ("location", "/login")]
                if code != 204:
                    headers.append(("content-length", str(len(text))))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD" and code != 204:
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        # Clients that leave are part of the tests.
        self._server.handle_error = lambda *_: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

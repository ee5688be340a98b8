"""The API server, as fast as one kept connection per thread allows, and a count of what others write."""

import base64
import concurrent.futures
import http.client
import json
import pathlib
import re
import ssl
import tempfile
import threading
import time

# Requests that are under way at a time when many objects are made; the API server and etcd share two cores with the rest.
PARALLEL = 8


class Refused(Exception):
    """An answer of the API server that was not expected."""


class Access:
    """Where the API server is, and how one shows who one is."""

    def __init__(self, kubeconfig):
        text = pathlib.Path(kubeconfig).read_text()
        server = re.search(r"server: \"?(https://[^\s\"},]+)", text)[1]
        self.host, port = server.removeprefix("https://").split(":")
        self.port = int(port)
        self.context = ssl.create_default_context(cadata=data(text, "certificate-authority").decode())
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(data(text, "client-certificate") + b"\n" + data(text, "client-key"))
            pair.flush()
            self.context.load_cert_chain(pair.name)

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=timeout)


def data(text, name):
    inline = re.search(rf"{name}-data: \"?([A-Za-z0-9+/=]+)", text)
    if inline:
        return base64.b64decode(inline[1])
    return pathlib.Path(re.search(rf"{name}: \"?([^\s\",}}]+)", text)[1]).read_bytes()


def path_of(manifest, name=""):
    """The collection that a manifest belongs to, or the object of that name in it."""
    version = manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = manifest["metadata"].get("namespace")
    kind = manifest["kind"].lower()
    plural = kind[:-1] + "ies" if kind.endswith("policy") else kind + ("es" if kind.endswith("ss") else "s")
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{middle}/{plural}" + (f"/{name}" if name else "")


class Api:
    """One kept connection for each thread that uses it."""

    def __init__(self, kubeconfig):
        self.access = Access(kubeconfig)
        self.local = threading.local()

    def request(self, method, path, body=None, content="application/json", expected=(200, 201, 202)):
        for last in (False, True):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = self.access.connect()
            try:
                headers = {"Content-Type": content} if body is not None else {}
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                if last:
                    raise
                continue
            if response.status not in expected:
                raise Refused(f"{method} {path}: {response.status} {answer.decode(errors='replace')[:500]}")
            return json.loads(answer) if answer else {}

    def create(self, manifest):
        """Creates an object; gives the time at which the API server had answered."""
        self.request("POST", path_of(manifest), manifest)
        return time.perf_counter()

    def replace(self, manifest):
        """Server-side apply; gives the time of the answer."""
        path = path_of(manifest, manifest["metadata"]["name"])
        self.request("PATCH", f"{path}?fieldManager=bench&force=true", manifest, "application/apply-patch+yaml")
        return time.perf_counter()

    def merge(self, manifest, patch):
        """Merge patch of an object that the manifest names; gives the time of the answer."""
        self.request("PATCH", path_of(manifest, manifest["metadata"]["name"]), patch, "application/merge-patch+json")
        return time.perf_counter()

    def delete(self, manifest):
        self.request("DELETE", path_of(manifest, manifest["metadata"]["name"]), expected=(200, 202, 404))
        return time.perf_counter()

    def get(self, path):
        return self.request("GET", path)

    def all(self, action, manifests, progress=None):
        """Does an action (a method of this class) for many manifests, several at a time; gives the last answer's time."""
        manifests = list(manifests)
        done, told = 0, time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            last = 0.0
            for at in pool.map(action, manifests):
                last = max(last, at)
                done += 1
                if progress and time.monotonic() - told > 5:
                    told = time.monotonic()
                    progress(f"{done} of {len(manifests)}")
        return last


class Watch:
    """Follows a collection in a thread, and counts how often each object was written."""

    def __init__(self, api, path, on_event=None):
        self.writes = {}
        self.objects = {}
        self.on_event = on_event
        self._stop = threading.Event()
        listed = api.get(path)
        self._version = listed["metadata"]["resourceVersion"]
        for item in listed["items"]:
            self.objects[key_of(item)] = item
        self._connection = api.access.connect(timeout=2)
        self._path = path
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        pending = b""
        response = None
        while not self._stop.is_set():
            try:
                if response is None:
                    query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={self._version}"
                    self._connection.request("GET", self._path + query)
                    response = self._connection.getresponse()
                chunk = response.read1(1 << 16)
            except TimeoutError:
                # Nothing happened for a while. http.client cannot read on after that, so the watch begins anew.
                self._connection.close()
                response, pending = None, b""
                continue
            if not chunk:
                self._connection.close()
                response, pending = None, b""
                continue
            pending += chunk
            *lines, pending = pending.split(b"\n")
            for line in filter(None, lines):
                self._take(json.loads(line))

    def _take(self, event):
        item = event["object"]
        if event["type"] == "ERROR":
            raise Refused(f"watch {self._path}: {item}")
        self._version = item["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return
        key = key_of(item)
        self.writes[key] = self.writes.get(key, 0) + 1
        if event["type"] == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = item
        if self.on_event:
            self.on_event(event["type"], item, time.perf_counter())

    def total(self):
        return sum(self.writes.values())

    def stop(self):
        self._stop.set()
        self._thread.join(5)
        self._connection.close()


def key_of(item):
    return (item["metadata"].get("namespace", ""), item["metadata"]["name"])

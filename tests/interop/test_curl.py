"""The control API by plain curl, as daemon/api.h has it: what a script may rely on, and what
a web page in the user's browser must not reach."""

import json
import os
import shutil
import socket
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from party import MIB, make_file, wait_for  # noqa: E402

TRANSFER_KEYS = {
    "id", "name", "bytes", "files", "chunks", "state", "origin", "done_bytes", "files_done",
    "peers", "peers_seen", "down_per_s", "up_per_s", "received_bytes", "bytes_from_source",
    "duplicates_bytes", "uploaded_bytes", "copies_sent", "source_copies", "source_restarted",
    "spread", "may_leave", "seconds", "path"}
NODE_KEYS = {"id", "name", "version", "port", "uptime_seconds", "discovery", "discovery_state",
             "hosts_asked", "hosts_waiting"}
GOT_KEYS = {"id", "name", "bytes", "seconds", "peers", "bytes_from_source", "duplicates_bytes",
            "verified", "path", "source_copies", "source_restarted", "files"}
STATES = {"idle", "seeding", "checking", "waiting", "running", "disk-full", "finishing", "paused",
          "failed", "changed"}
HEADER_MAX, BODY_MAX = 16 * 1024, 64 * 1024
CURL_WRITE_ERRORS = (0, 55, 56, 52)  # the daemon may hang up before all is sent


class Answer:
    def __init__(self, status, kind, body):
        self.status, self.kind, self.body = status, kind, body

    @property
    def doc(self):
        return json.loads(self.body)

    @property
    def lines(self):
        assert self.kind == "application/x-ndjson"
        assert self.body.endswith(b"\n")
        docs = [json.loads(line) for line in self.body.splitlines()]
        assert all(isinstance(doc, dict) for doc in docs)
        return docs


def curl(host, path, *options, data=None, may_hang_up=False):
    """curl --unix-socket SOCKET http://ronda/PATH -> Answer."""
    argv = ["curl", "-sS", "--max-time", "60", "--unix-socket", host.daemon.socket,
            "-o", host.dir / "body", "-w", "%{http_code} %{content_type}", *options]
    if data is not None:
        (host.dir / "sent").write_bytes(data if isinstance(data, bytes)
                                        else json.dumps(data).encode())
        argv += ["--data-binary", f"@{host.dir / 'sent'}"]
    (host.dir / "body").unlink(missing_ok=True)
    done = host.run([*argv, f"http://ronda{path}"], check=False)
    assert done.returncode in (CURL_WRITE_ERRORS if may_hang_up else (0,)), done
    status, _, kind = done.stdout.partition(" ")
    body = host.dir / "body"
    return Answer(int(status), kind, body.read_bytes() if body.exists() else b"")


def raw(host, request):
    """Bytes to the socket -> all that comes back until the daemon closes."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(host.daemon.socket))
        try:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while block := s.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
        return answer


def assert_refused(answer, status=None, code=None):
    assert answer.status == status if status else 400 <= answer.status < 600, answer.body
    assert answer.kind == "application/json"
    doc = answer.doc
    assert set(doc) == {"error", "code"}
    assert doc["error"] and isinstance(doc["error"], str)
    assert doc["code"] == code if code else doc["code"] in range(1, 7)
    return doc


def assert_healthy(host):
    assert host.daemon.running()
    assert curl(host, "/v1/version").status == 200


@pytest.fixture(scope="module")
def shared(home):
    """A share of three files -> its `done` line."""
    for number in range(3):
        make_file(home.dir / "album" / f"{number}.ogg", 300000 + number, seed=number)
    return curl(home, "/v1/shares", data={"path": str(home.dir / "album")}).lines[-1]


# --- routes ---


def test_version(home):
    answer = curl(home, "/v1/version")
    assert (answer.status, answer.kind) == (200, "application/json")
    doc = answer.doc
    assert set(doc) == {"version", "protocol", "id", "name"}
    assert doc["name"] == home.name and len(bytes.fromhex(doc["id"])) == 32
    assert isinstance(doc["protocol"], int)


def test_share_is_a_stream(home, shared):
    assert shared["event"] == "done"
    assert set(shared) == {"event", "id", "name", "bytes", "files", "chunks", "seconds", "skipped",
                           "was"}
    assert (shared["name"], shared["bytes"], shared["files"]) == ("album", 900003, 3)
    assert (shared["chunks"], shared["skipped"]) == (9, 0)
    assert len(bytes.fromhex(shared["id"])) == 32


def test_share_under_another_name(home):
    path = make_file(home.dir / "before.bin", 1000, seed="name")
    done = curl(home, "/v1/shares", data={"path": str(path), "name": "after ☕"}).lines[-1]
    assert done["name"] == "after ☕"
    gone = curl(home, f"/v1/shares?what={done['id']}", "-X", "DELETE")
    assert gone.status == 200
    assert gone.doc == {"id": done["id"], "name": "after ☕", "unfinished": False}
    assert path.exists()


def test_catalog(home, shared):
    doc = curl(home, "/v1/catalog").doc
    assert set(doc) == {"hosts_asked", "hosts_waiting", "shares"}
    (row,) = [row for row in doc["shares"] if row["id"] == shared["id"]]
    assert set(row) == {"id", "name", "names", "bytes", "files", "sources", "partial", "state"}
    assert row["state"] == "here" and row["names"] == ["album"]
    assert (row["sources"], row["partial"]) == (1, 0)
    assert (row["bytes"], row["files"]) == (900003, 3)


def assert_status(doc):
    assert set(doc) == {"node", "transfers"}
    assert set(doc["node"]) == NODE_KEYS
    for entry in doc["transfers"]:
        assert set(entry) - {"error"} == TRANSFER_KEYS
        assert entry["state"] in STATES
        assert ("error" in entry) == (entry["state"] == "failed")


def test_status(home, shared):
    doc = curl(home, "/v1/status").doc
    assert_status(doc)
    (entry,) = [e for e in doc["transfers"] if e["id"] == shared["id"]]
    assert (entry["state"], entry["origin"]) == ("idle", True)
    assert entry["done_bytes"] == entry["bytes"] == 900003
    assert entry["path"] == str(home.dir / "album")
    assert doc["node"]["discovery"] == "off"


def test_peers_alone(home):
    assert curl(home, "/v1/peers").doc == {"peers": []}


def test_watch_goes_on(home, shared):
    """A status a line until the client goes; the daemon survives that."""
    job = home.popen(["curl", "-sSN", "--unix-socket", home.daemon.socket,
                      "http://ronda/v1/watch"], stdout=-1)
    for _ in range(3):
        assert_status(json.loads(job.stdout.readline()))
    job.kill()
    job.wait()
    assert_healthy(home)


def test_verify(home, shared):
    done = curl(home, "/v1/verify", data={"what": "album"}).lines[-1]
    assert set(done) == {"event", "id", "name", "bytes", "bad_chunks", "first_bad", "seconds"}
    assert (done["event"], done["id"], done["bad_chunks"]) == ("done", shared["id"], 0)
    assert done["first_bad"] is None


def state_of(host, share_id):
    return [row["state"] for row in curl(host, "/v1/status").doc["transfers"]
            if row["id"] == share_id]


def test_verify_names_the_bad_file(home):
    for name in ("good.bin", "worse.bin"):
        make_file(home.dir / "rotten" / name, 200000, seed=name)
    said = curl(home, "/v1/shares", data={"path": str(home.dir / "rotten")}).lines[-1]
    flip(home.dir / "rotten" / "worse.bin", 150000)
    done = curl(home, "/v1/verify", data={"what": "rotten"}).lines[-1]
    assert (done["event"], done["bad_chunks"]) == ("done", 1)
    assert done["first_bad"] == "worse.bin"
    # Known to be wrong, it is offered to nobody.
    assert state_of(home, said["id"]) == ["failed"]
    assert said["id"] not in {row["id"] for row in curl(home, "/v1/catalog").doc["shares"]
                              if row["sources"]}
    # Shared again as it was, it is right again.
    flip(home.dir / "rotten" / "worse.bin", 150000)
    again = curl(home, "/v1/shares", data={"path": str(home.dir / "rotten")}).lines[-1]
    assert again["id"] == said["id"] and state_of(home, said["id"]) == ["idle"]


def test_verify_reads_what_was_touched(home):
    """Another time on a file makes its bytes no worse."""
    path = make_file(home.dir / "touched.bin", 200000)
    curl(home, "/v1/shares", data={"path": str(path)})
    os.utime(path, (10 ** 9, 10 ** 9))
    done = curl(home, "/v1/verify", data={"what": "touched.bin"}).lines[-1]
    assert (done["event"], done.get("bad_chunks")) == ("done", 0), done


def test_verify_misses_what_is_gone(home):
    for name in ("a.bin", "b.bin"):
        make_file(home.dir / "robbed" / name, 200000, seed=name)
    curl(home, "/v1/shares", data={"path": str(home.dir / "robbed")})
    (home.dir / "robbed" / "b.bin").unlink()
    done = curl(home, "/v1/verify", data={"what": "robbed"}).lines[-1]
    assert (done["event"], done.get("first_bad")) == ("done", "b.bin"), done
    assert done["bad_chunks"] > 0
    (home.dir / "robbed").rename(home.dir / "elsewhere")
    gone = curl(home, "/v1/verify", data={"what": "robbed"}).lines[-1]
    assert (gone["event"], gone["code"]) == ("error", 5), gone


def flip(path, at):
    """One bit, and nobody can tell by the file's size or time."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_torrent(home, shared):
    answer = curl(home, "/v1/torrent?what=album")
    assert (answer.status, answer.kind) == (200, "application/x-bittorrent")
    assert answer.body.startswith(b"d") and b"12:piece layers" in answer.body
    assert curl(home, f"/v1/torrent?what={shared['id'][:8]}").body == answer.body


def test_names_are_percent_encoded(home):
    path = make_file(home.dir / "50% & more + ü?.bin", 500)
    curl(home, "/v1/shares", data={"path": str(path)})
    for query in ("50%25%20%26%20more%20%2B%20%C3%BC%3F.bin",
                  "50%25+%26+more+%2B+%c3%bc%3F.bin"):
        assert curl(home, f"/v1/torrent?what={query}").status == 200, query


def test_download_is_a_stream(pair):
    left, right = pair.hosts
    path = make_file(left.dir / "image.bin", 4 * MIB)
    said = curl(left, "/v1/shares", data={"path": str(path)}).lines[-1]
    wait_for("right lists it", lambda: any(row["id"] == said["id"] for row in
                                           curl(right, "/v1/catalog").doc["shares"]))
    left.set_rate(40)
    right.set_rate(40)
    into = right.dir / "got"
    into.mkdir()
    lines = curl(right, "/v1/downloads", data={"what": said["id"], "dest": str(into)}).lines
    assert [line["event"] for line in lines[:-1]] == ["progress"] * (len(lines) - 1)
    for line in lines[:-1]:
        assert set(line) - {"error"} == TRANSFER_KEYS | {"event"}
    done = lines[-1]
    assert done["event"] == "done" and GOT_KEYS <= set(done)
    assert done["verified"] is True and done["peers"] == 1
    assert done["bytes_from_source"] >= done["bytes"] == 4 * MIB
    assert done["path"] == str(into / "image.bin")
    assert (into / "image.bin").read_bytes() == path.read_bytes()
    seen = [line["done_bytes"] for line in lines[:-1]]
    assert seen == sorted(seen) and len(seen) > 1

    (peer,) = curl(right, "/v1/peers").doc["peers"]
    assert set(peer) == {"id", "name", "address", "port", "state", "error", "shares", "transfers",
                         "in_bytes", "out_bytes", "wireless", "wireless_here"}
    assert (peer["name"], peer["state"]) == (left.name, "connected")
    assert peer["in_bytes"] >= 4 * MIB and peer["error"] is None


# --- errors ---


@pytest.mark.parametrize("path", ["/v1/torrent?what=nothing", "/v1/torrent?what=ffffffff"])
def test_not_found(home, path):
    assert "nothing called" in assert_refused(curl(home, path), 404, 4)["error"]


def test_delete_of_nothing(home):
    assert_refused(curl(home, "/v1/shares?what=nothing", "-X", "DELETE"), 404, 4)


def test_ambiguous_is_409(home):
    for seed in (1, 2):
        path = make_file(home.dir / f"d{seed}" / "twice.bin", 1000, seed=seed)
        curl(home, "/v1/shares", data={"path": str(path)})
    assert_refused(curl(home, "/v1/torrent?what=twice.bin"), 409, 4)


@pytest.mark.parametrize("route, body, code", [
    ("/v1/shares", {"path": "/no/such/thing"}, 4),
    ("/v1/verify", {"what": "nothing"}, 4),
    ("/v1/downloads", {"what": "nothing", "dest": "/"}, 4),
])
def test_a_stream_ends_with_the_error(home, route, body, code):
    answer = curl(home, route, data=body)
    assert answer.status == 200
    last = answer.lines[-1]
    assert set(last) == {"event", "error", "code"}
    assert (last["event"], last["code"]) == ("error", code), last
    assert last["error"]


@pytest.mark.parametrize("route, body", [
    ("/v1/shares", b""), ("/v1/shares", b"no json"), ("/v1/shares", b"[]"),
    ("/v1/shares", b'"/etc"'), ("/v1/shares", b"{}"), ("/v1/shares", b'{"path": 1}'),
    ("/v1/shares", b'{"path": "relative"}'), ("/v1/shares", b'{"path": ""}'),
    ("/v1/shares", b'{"path": "/etc/hostname", "name": ""}'),
    ("/v1/shares", b'{"path": "/etc/hostname", "more": 1}'),
    ("/v1/shares", b'{"path": "/etc/hostname", "path": "/etc/hosts"}'),
    ("/v1/shares", b'{"path": "/etc/hostname"} {}'),
    ("/v1/shares", b'{"path": "/etc/\\u0000hostname"}'), ("/v1/shares", b'{"path": "/\xff"}'),
    ("/v1/downloads", b'{"dest": "/tmp"}'), ("/v1/downloads", b'{"what": "album", "dest": "."}'),
    ("/v1/downloads", b'{"what": "", "dest": "/tmp"}'),
    ("/v1/verify", b'{"what": ""}'), ("/v1/verify", b'{"name": "album"}'),
    ("/v1/verify", b"[" * 60000),
])
def test_wrong_body(home, route, body):
    assert_refused(curl(home, route, "-X", "POST", data=body), 400, 2)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "x" * 256, "nul\0"])
def test_unacceptable_share_name(home, name):
    path = make_file(home.dir / "named.bin", 100)
    answer = curl(home, "/v1/shares", data={"path": str(path), "name": name})
    last = json.loads(answer.body.splitlines()[-1])
    assert last["code"] == 2, last


@pytest.mark.parametrize("query", ["", "?", "?what", "?what=", "?what=%00", "?what=a%00b",
                                   "?what=%ff", "?name=album", "?what=album&what=album",
                                   "?what=album&x=1"])
def test_wrong_query(home, query):
    assert_refused(curl(home, f"/v1/torrent{query}"), 400, 2)
    assert_refused(curl(home, f"/v1/shares{query}", "-X", "DELETE"), 400, 2)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/Status", "/v1/status/", "/v2/status",
                                  "/v1/../v1/status", "/v1/%73tatus", "/v1//status"])
def test_unknown_path(home, path):
    assert_refused(curl(home, path, "--path-as-is"), 404, 2)


@pytest.mark.parametrize("method, path", [
    ("POST", "/v1/status"), ("DELETE", "/v1/status"), ("GET", "/v1/shares"),
    ("GET", "/v1/downloads"), ("DELETE", "/v1/torrent?what=album"), ("POST", "/v1/version")])
def test_wrong_method(home, shared, method, path):
    assert_refused(curl(home, path, "-X", method), 400, 2)
    assert curl(home, "/v1/torrent?what=album").status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_foreign_method(home, method):
    answer = raw(home, f"{method} /v1/status HTTP/1.1\r\nHost: ronda\r\n\r\n".encode())
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert b"transfers" not in answer
    assert_healthy(home)


# --- what a web page would send ---


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://ronda"])
def test_origin_is_refused(home, origin):
    for path in ("/v1/status", "/v1/torrent?what=album"):
        assert_refused(curl(home, path, "-H", f"Origin: {origin}"), 400, 2)
    body = {"path": str(home.dir / "album"), "name": "by a web page"}
    assert_refused(curl(home, "/v1/shares", "-H", f"oRiGiN: {origin}", data=body), 400, 2)
    assert b"by a web page" not in curl(home, "/v1/catalog").body


def test_transfer_encoding_is_refused(home):
    body = {"path": str(home.dir / "album"), "name": "in chunks"}
    for value in ("chunked", "gzip, chunked", "identity"):
        answer = curl(home, "/v1/shares", "-H", f"Transfer-Encoding: {value}", data=body,
                      may_hang_up=True)
        assert answer.status != 200, value
    assert b"in chunks" not in curl(home, "/v1/catalog").body
    assert_healthy(home)


@pytest.mark.parametrize("target", [
    "http://ronda/v1/status", "http://evil.example/v1/status", "//ronda/v1/status",
    "v1/status", "*", "https:///v1/status"])
def test_only_paths_are_served(home, target):
    answer = curl(home, "/", "--request-target", target, may_hang_up=True)
    assert answer.status in (0, 400)
    assert b"transfers" not in answer.body


def test_host_is_there_once(home):
    for hosts in ("", "Host: a\r\nHost: b\r\n"):
        answer = raw(home, f"GET /v1/status HTTP/1.1\r\n{hosts}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"transfers" not in answer


@pytest.mark.parametrize("lengths", ["-1", "+5", "0x10", "5, 5", "99999999999999999999"])
def test_strange_content_length(home, lengths):
    answer = raw(home, f"POST /v1/verify HTTP/1.1\r\nHost: r\r\nContent-Length: {lengths}\r\n\r\n"
                       '{"what": "album"}'.encode())
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert_healthy(home)


def test_get_with_a_body(home):
    assert_refused(curl(home, "/v1/status", "-X", "GET", data=b"{}"), 400, 2)


def test_oversized_header(home):
    assert curl(home, "/v1/version", "-H", "X: " + "a" * (HEADER_MAX // 2)).status == 200
    for header in ("X: " + "a" * HEADER_MAX, "a" * (2 * HEADER_MAX) + ": x"):
        answer = curl(home, "/v1/version", "-H", header, may_hang_up=True)
        assert answer.status != 200
    # A request line without end, and headers without end.
    for flood in (b"GET /" + b"a" * 1000000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200000):
        assert b" 200 " not in raw(home, flood)[:20]
    assert_healthy(home)


def test_oversized_body(home):
    fits = b'{"what": "' + b"x" * (BODY_MAX - 100) + b'"}'
    assert curl(home, "/v1/verify", "-H", "Expect:", data=fits).lines[-1]["code"] == 4
    for size in (BODY_MAX + 1, 4 * MIB):
        answer = curl(home, "/v1/verify", data=b" " * size, may_hang_up=True)
        assert answer.status != 200
        assert b"done" not in answer.body
    assert_healthy(home)


# --- the socket ---


def test_socket_is_private(home):
    seen = os.lstat(home.daemon.socket)
    assert stat.S_ISSOCK(seen.st_mode) and stat.S_IMODE(seen.st_mode) == 0o600
    assert stat.S_IMODE(os.lstat(home.daemon.socket.parent).st_mode) == 0o700


def test_runtime_directory_is_made_private(make_home):
    host = make_home()
    host.daemon.stop()
    assert not host.daemon.socket.exists(), "a socket that nobody listens at is left"
    shutil.rmtree(host.daemon.socket.parent)
    # start_daemon() would make it.
    argv = host.daemon.process.args[len(host.ns.enter):]
    host.popen(argv, stdin=-3, stdout=-3, stderr=-3)
    wait_for("the daemon answers", host.daemon.answers)
    assert stat.S_IMODE(host.daemon.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(host.daemon.socket.stat().st_mode) == 0o600


def test_more_clients_than_places(make_home):
    """The 33rd waits; when others go it is served."""
    host = make_home()
    idle = []
    for _ in range(32):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(host.daemon.socket))
        s.sendall(b"GET /v1/watch HTTP/1.1\r\nHost: ronda\r\n\r\n")
        idle.append(s)
    job = host.popen(["curl", "-sS", "--max-time", "60", "--unix-socket", host.daemon.socket,
                      "http://ronda/v1/version"], stdout=-1)
    for s in idle:
        s.close()
    out, _ = job.communicate(timeout=60)
    assert json.loads(out)["name"] == host.name


def test_a_client_that_leaves_stops_its_job(make_home):
    """A transfer that nobody has ends with its client, and others go on being served."""
    host = make_home()
    job = host.popen(["curl", "-sSN", "--unix-socket", host.daemon.socket, "-d",
                      json.dumps({"what": "nothing", "dest": str(host.dir)}),
                      "http://ronda/v1/downloads"], stdout=-3)
    job.kill()
    job.wait()
    assert_healthy(host)
    assert curl(host, "/v1/status").doc["transfers"] == []

#!/usr/bin/env python3
"""The monitoring port: /varz /healthz /connz /jsz over http.client and raw sockets.

  monitor.py           against our binary
  PEER=path monitor.py the same questions to a nats-server of that path as well; members and answers that differ and are
                       not in the list of known differences are errors"""
import http.client
import json
import os
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

CONFIG = """
http: "127.0.0.1:-1"
accounts {
  A: { users: [{user: a, password: a}], jetstream: enabled }
  B: { users: [{user: b, password: b}], jetstream: enabled }
  C: { users: [{user: c, password: c}] }
  SYS: { users: [{user: s, password: s}] }
}
system_account: SYS
"""
passed, failures = 0, []


def check(what, ok, *more):
    global passed
    if ok:
        passed += 1
    else:
        failures.append(what)
        print("FAIL", what, *more)


def equal(what, got, want):
    check(what, got == want, "got %r, want %r" % (got, want))


class Site:
    """A server and its monitoring port."""

    def __init__(self, text=CONFIG, exe=None, args=(), jetstream=True):
        config = server.scratch() + ".conf"
        with open(config, "w") as f:
            f.write(text)
        self.server = server.Server(config=config, exe=exe, args=args, jetstream=jetstream)
        self.find_port()

    def find_port(self):
        self.port = int(re.search(r"Starting http monitor on 127\.0\.0\.1:(\d+)", self.server.log()).group(1))

    def ask(self, path, method="GET", raw=False):
        h = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        h.request(method, path)
        r = h.getresponse()
        body = r.read().decode()
        h.close()
        if raw:
            return r, body
        return r.status, json.loads(body) if r.getheader("content-type") == "application/json" else body

    def get(self, path):
        status, body = self.ask(path)
        if status != 200:
            raise AssertionError("%s: %d %s" % (path, status, body))
        return body

    def conn(self, user=None, name="natsraw"):
        c = {"name": name}
        if user:
            c.update({"user": user, "pass": user})
        return natsraw.Conn(port=self.server.port, connect=c)

    def raw(self, data, wait=5.0):
        """Sends bytes; everything that comes until the end, or None when the connection stays open."""
        with socket.create_connection(("127.0.0.1", self.port), wait) as s:
            s.sendall(data)
            out = b""
            try:
                while True:
                    got = s.recv(65536)
                    if not got:
                        return out
                    out += got
            except socket.timeout:
                return None

    def status_of(self, data):
        """Sends bytes; the status of the first answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(data)
            r = http.client.HTTPResponse(s)
            r.begin()
            r.read()
            return r.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.__exit__()


def fill(site):
    """Two accounts with the same names in them."""
    conns = []
    for user in "ab":
        c = site.conn(user, "app-" + user)
        c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "max_bytes": 100000})
        for i in range(2 if user == "a" else 5):
            c.request("s.%d" % i, b"hello")
        c.api("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {"durable_name": "C", "name": "C", "ack_policy": "explicit"}})
        c.api("STREAM.CREATE.%s-ONLY" % user, {"name": user + "-ONLY", "subjects": ["m.>"], "storage": "memory"})
        c.sub("foo.*", "q")
        c.unsub(c.sub("bar"), 7)
        c.pub("bar", "x")
        c.ping()
        conns.append(c)
    return conns


def shape(value, path=""):
    """The members, in order, of a page; lists by their first element."""
    if isinstance(value, dict):
        out = []
        for k, v in value.items():
            out.append(path + "." + k)
            out += shape(v, path + "." + k)
        return out
    if isinstance(value, list) and value:
        return shape(value[0], path + "[]")
    return []


def test_varz(site):
    v = site.get("/varz")
    equal("varz port", v["port"], site.server.port)
    equal("varz http_port", v["http_port"], site.port)
    equal("varz counters", (v["connections"], v["in_msgs"], v["in_bytes"] > 0), (2, 15, True))
    equal("varz jetstream", v["jetstream"]["stats"]["accounts"], 2)
    equal("varz reserved", v["jetstream"]["stats"]["reserved_storage"], 200000)
    check("varz store_dir", v["jetstream"]["config"]["store_dir"].endswith("/millrace"))
    check("varz process", v["mem"] > 1 << 20 and v["cores"] > 0)
    check("varz requests", v["http_req_stats"]["/varz"] >= 1)
    check("varz level", v["jetstream"]["stats"]["api"]["level"] == 4)
    equal("varz ours", v["millrace"]["version"] != "", True)


def test_connz(site, conns):
    z = site.get("/connz")
    equal("connz sums", (z["num_connections"], z["total"], z["offset"], z["limit"]), (2, 2, 0, 1024))
    equal("connz names", [c["name"] for c in z["connections"]], ["app-a", "app-b"])
    check("connz no login unasked", "account" not in z["connections"][0] and "authorized_user" not in z["connections"][0])
    z = site.get("/connz?auth=1&subs=1&acc=B")
    equal("connz of an account", (z["total"], [c["account"] for c in z["connections"]]), (1, ["B"]))
    equal("connz user", z["connections"][0]["authorized_user"], "b")
    equal("connz subjects", sorted(s for s in z["connections"][0]["subscriptions_list"]), ["bar", "foo.*"])
    d = site.get("/connz?subs=detail&acc=A")["connections"][0]["subscriptions_list_detail"]
    bar = [s for s in d if s["subject"] == "bar"][0]
    equal("connz detail", (bar["msgs"], bar["max"], bar["cid"]), (1, 7, z["connections"][0]["cid"] - 1))
    equal("connz detail queue", [s["qgroup"] for s in d if s["subject"] == "foo.*"], ["q"])
    gone = site.conn("a", "gone")
    gone.sub("x")
    gone.ping()
    gone.close()
    end = time.monotonic() + 10
    while site.get("/connz?state=closed")["total"] < 1 and time.monotonic() < end:
        conns[0].ping()
    k = site.get("/connz?state=closed&auth=1")["connections"]
    equal("connz closed", [(c["name"], c["reason"], c["account"], c["subscriptions"]) for c in k],
          [("gone", "Client Closed", "A", 1)])
    equal("connz closed of B", site.get("/connz?state=closed&acc=B")["connections"], [])
    equal("connz any", [c["name"] for c in site.get("/connz?state=any")["connections"]], ["app-a", "app-b", "gone"])
    equal("connz limit", [c["name"] for c in site.get("/connz?state=any&limit=1&offset=1")["connections"]], ["app-b"])
    equal("connz offset beyond", site.get("/connz?offset=9")["connections"], [])
    cid = k[0]["cid"]
    equal("connz cid", [c["name"] for c in site.get("/connz?cid=%d&state=closed" % cid)["connections"]], ["gone"])
    equal("connz cid not open", site.get("/connz?cid=%d" % cid)["connections"], [])
    equal("connz cid of another account", site.get("/connz?acc=A&cid=%d" % (k[0]["cid"] - 1))["connections"], [])
    equal("connz user", [c["name"] for c in site.get("/connz?user=b")["connections"]], ["app-b"])
    equal("connz subject", [c["name"] for c in site.get("/connz?acc=A&filter_subject=foo.x")["connections"]], ["app-a"])
    equal("connz no subject", site.get("/connz?acc=A&filter_subject=nix")["connections"], [])
    equal("connz no account", site.get("/connz?acc=NOPE")["total"], 0)
    for sort, want in {"cid": "ab", "start": "ab", "bytes_from": "ba", "msgs_from": "ba", "msgs_to": "ba", "bytes_to": "ba",
                       "uptime": "ba", "subs": "ab", "pending": "ab", "rtt": "", "last": "ba", "idle": "ab"}.items():
        got = "".join(c["name"][-1] for c in site.get("/connz?sort=" + sort)["connections"])
        check("connz sort " + sort, got == want or (want == "" and sorted(got) == ["a", "b"]), got)
    for sort in ("stop", "reason"):
        equal("connz sort " + sort, site.get("/connz?state=closed&sort=" + sort)["total"], 1)


def test_jsz(site):
    z = site.get("/jsz")
    equal("jsz sums", (z["accounts"], z["streams"], z["consumers"], z["messages"], z["total"]), (2, 4, 2, 7, 2))
    check("jsz no details unasked", "account_details" not in z)
    m = z["millrace"]
    check("jsz journal", m["journal"]["syncs"] > 0 and m["journal"]["window_used_bytes"] > 0)
    equal("jsz store", (m["incidents"], m["damage"], m["low_space"], m["recovery"]["fresh"]), (0, [], False, True))
    z = site.get("/jsz?acc=A&streams=1&consumers=1&config=1")
    equal("jsz of an account", [(a["name"], a["id"]) for a in z["account_details"]], [("A", "A")])
    s = z["account_details"][0]["stream_detail"]
    equal("jsz streams", [(x["name"], x["state"]["messages"], x["millrace"]["durability"]) for x in s],
          [("S", 2, "durable"), ("a-ONLY", 0, "memory")])
    check("jsz ours beside the config", "millrace" not in s[0]["config"] and s[0]["millrace"]["damaged"] == 0)
    equal("jsz consumer", [(c["name"], c["num_pending"], c["config"]["durable_name"]) for c in s[0]["consumer_detail"]],
          [("C", 2, "C")])
    check("jsz nothing of B", "b-ONLY" not in json.dumps(z) and '"B"' not in json.dumps(z))
    z = site.get("/jsz?accounts=1")
    equal("jsz accounts", [a["name"] for a in z["account_details"]], ["A", "B"])
    check("jsz no streams unasked", "stream_detail" not in z["account_details"][0])
    equal("jsz page", [a["name"] for a in site.get("/jsz?streams=1&limit=1&offset=1")["account_details"]], ["B"])
    check("jsz beyond", "account_details" not in site.get("/jsz?accounts=1&offset=7"))
    for acc in ("NOPE", "C", "SYS"):
        check("jsz of " + acc, "account_details" not in site.get("/jsz?acc=%s&streams=1" % acc))


def test_api(site, conns):
    info = conns[0].api("STREAM.INFO.S")
    equal("stream info, ours", info["millrace"], {"durability": "durable", "damaged": 0})
    check("stream info, config", "millrace" not in info["config"] and "durability" not in info["config"])
    listed = conns[0].api("STREAM.LIST")["streams"]
    equal("stream list, ours", [s["millrace"]["durability"] for s in listed], ["durable", "memory"])


def test_healthz(site):
    for q in ("", "?js-enabled-only=true", "?js-server-only=1", "?details=1", "?account=A", "?account=A&stream=S",
              "?account=A&stream=S&consumer=C&details=1", "?js-enabled=1", "?js-meta-only=1"):
        equal("healthz" + q, site.ask("/healthz" + q), (200, {"status": "ok"}))
    for q, status in {"?account=NOPE": 404, "?account=C": 404, "?account=A&stream=b-ONLY": 404, "?account=A&stream=S&consumer=X": 404,
                      "?stream=S": 400, "?account=A&consumer=C": 400}.items():
        got, body = site.ask("/healthz" + q)
        check("healthz" + q, got == status and body["status"] != "ok" and body["error"], got, body)
        got, body = site.ask("/healthz" + q + "&details=true")
        check("healthz with details" + q, got == status and body["status"] == "error" and body["errors"][0]["error"], got, body)
    equal("healthz error", site.ask("/healthz?account=A&stream=X&details=1")[1],
          {"status": "error", "errors": [{"type": "STREAM", "account": "A", "stream": "X",
                                          "error": 'JetStream stream "X" not found on account "A"'}]})


BAD = {
    "/connz?sort=nope": "invalid sorting option: nope",
    "/connz?sort=stop": "sort by stop only valid on closed connections",
    "/connz?limit=x": "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax",
    "/connz?state=foo": "Error decoding state for foo",
    "/connz?auth=foo": "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"foo\": invalid syntax",
    "/connz?cid=x": "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"x\": invalid syntax",
    "/jsz?offset=1.5": "Error decoding int for 'offset': strconv.Atoi: parsing \"1.5\": invalid syntax",
    "/jsz?accounts=yes": "Error decoding boolean for 'accounts': strconv.ParseBool: parsing \"yes\": invalid syntax",
    "/healthz?details=2": "Error decoding boolean for 'details': strconv.ParseBool: parsing \"2\": invalid syntax",
}


def test_bad(site):
    for path, text in BAD.items():
        equal(path, site.ask(path), (400, text))
    for path in ("/nope", "/varz/", "/Varz", "/subsz", "/varz%00", "/../varz"):
        status, _ = site.ask(path)
        equal(path, status, 400 if "%00" in path else 404)


def test_http(site):
    r, body = site.ask("/varz", raw=True)
    equal("type", r.getheader("content-type"), "application/json")
    equal("length", int(r.getheader("content-length")), len(body.encode()))
    equal("indented as Go does", body.rstrip("\n"), json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    r, body = site.ask("/varz", "HEAD", raw=True)
    check("HEAD", r.status == 200 and body == "" and int(r.getheader("content-length")) > 1000)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        r, _ = site.ask("/varz", method, raw=True)
        equal(method, (r.status, r.getheader("allow"), r.getheader("connection")), (405, "GET, HEAD", "close"))
    h = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    for _ in range(3):  # one connection
        h.request("GET", "/healthz")
        sock = h.sock
        equal("keep-alive", h.getresponse().read(), b'{"status":"ok"}')
        check("same connection", h.sock is sock)
    h.close()
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    equal("pipelined", site.raw(one * 20 + last).count(b'{"status":"ok"}'), 21)
    check("HTTP/1.0", site.raw(b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b'\r\n\r\n{"status":"ok"}'))
    for data, status in {
            b"GET /healthz HTTP/1.1\nHost: x\n\n": 400,
            b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n": 400,
            b"GET /healthz HTTP/1.1\r\n\r\n": 400,
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET ": 400,
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
            b"GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n": 505,
            b"\x16\x03\x01\x02\x00\x01\x00": 400,
            b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": 414,
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200000 + b"\r\n\r\n": 431}.items():
        equal("refused %r" % data[:50], site.status_of(data), status)
    # a refused client that still sends reads its answer, then the connection ends
    check("end after a refusal", site.raw(b"GET / HTTP/1.1\nHost: x\n\n" + b"x" * 300000).startswith(b"HTTP/1.1 400 "))


def test_many(site):
    """Idle connections give way; a request gets in."""
    idle = [socket.create_connection(("127.0.0.1", site.port), 10) for _ in range(70)]
    for _ in range(3):
        equal("a probe gets in", site.ask("/healthz")[0], 200)
    for s in idle:
        s.close()
    halves = [socket.create_connection(("127.0.0.1", site.port), 10) for _ in range(70)]
    for s in halves:
        s.sendall(b"GET")
    # there is no idle one to give way: 503; 200 where some of the first are still being taken down
    got = site.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    check("full of half requests", got is not None and got[:12] in (b"HTTP/1.1 503", b"HTTP/1.1 200"), got)
    for s in halves:
        s.close()
    end = time.monotonic() + 10
    while True:
        try:
            if site.ask("/healthz")[0] == 200 or time.monotonic() > end:
                break
        except (OSError, http.client.HTTPException):
            pass
    equal("a probe gets in again", site.ask("/healthz")[0], 200)


def test_big(site):
    """More streams and connections than a step makes; clients go away while pages are made."""
    c = site.conn("a")
    for i in range(100):
        c.api("STREAM.CREATE.T%03d" % i, {"name": "T%03d" % i, "subjects": ["t%d.>" % i], "storage": "memory"})
    more = [site.conn("b", "n%d" % i) for i in range(60)]
    names = [s["name"] for s in site.get("/jsz?acc=A&streams=1")["account_details"][0]["stream_detail"]]
    equal("jsz many", names, ["S"] + ["T%03d" % i for i in range(100)] + ["a-ONLY"])
    equal("connz many", site.get("/connz?acc=B")["num_connections"], 61)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", site.port)) as s:
            s.sendall(b"GET /jsz?streams=1&config=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    for i in range(0, 100, 2):  # streams go while a page over them is made
        with socket.create_connection(("127.0.0.1", site.port)) as s:
            s.sendall(b"GET /jsz?streams=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            c.api("STREAM.DELETE.T%03d" % i)
    equal("jsz fewer", len(site.get("/jsz?acc=A&streams=1")["account_details"][0]["stream_detail"]), 52)
    for m in more:
        m.close()
    c.close()


def test_other_servers():
    with Site('http: "127.0.0.1:-1"\nhttp_base_path: "/mon"', jetstream=False) as site:
        equal("base path", (site.ask("/mon")[0], site.ask("/mon/varz")[0], site.ask("/varz")[0], site.ask("/")[0], site.ask("/mon/")[0]),
              (200, 200, 404, 404, 404))
        check("index", 'href="./mon/varz"' in site.ask("/mon")[1])
        z = site.get("/mon/jsz?accounts=1&streams=1")
        equal("jsz without JetStream", (z["disabled"], z["streams"], z["total"]), (True, 0, 0))
        equal("varz without JetStream", site.get("/mon/varz")["jetstream"], {})
        equal("healthz without JetStream", site.ask("/mon/healthz?js-enabled-only=1"), (200, {"status": "ok"}))
        with site.conn() as c:
            k = site.get("/mon/connz?auth=1")["connections"][0]
            check("global account", "account" not in k and k["name_tag"] == "$G" and c)
        taken = site.port
        try:
            server.Server(args=["-m", str(taken)], jetstream=False)
            check("port taken", False)
        except RuntimeError as e:
            check("port taken", "[FTL] Can't start monitoring: can't listen to the monitor port: 127.0.0.1:%d: address already in use"
                  % taken in str(e), e)
    with Site('http: "127.0.0.1:-1"\nauthorization { token: sesame }', jetstream=False) as site:
        with natsraw.Conn(port=site.server.port, connect={"auth_token": "sesame"}):
            equal("a token is not shown", site.get("/connz?auth=1")["connections"][0]["authorized_user"], "[REDACTED]")
            check("nowhere", "sesame" not in json.dumps([site.get("/connz?auth=1"), site.get("/varz")]))


def test_restart(site):
    site.server.restart()
    site.find_port()
    z = site.get("/jsz")
    equal("after a kill", (z["messages"], z["millrace"]["recovery"]["clean"]), (11, False))
    h = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    h.request("GET", "/healthz")
    h.getresponse().read()
    equal("stops with a connection open", site.server.stop(), 0)
    h.close()


def flip(store, pattern):
    """Flips a bit of the only place in the store where the bytes stand."""
    for root, _, files in os.walk(store):
        for name in files:
            path = os.path.join(root, name)
            with open(path, "r+b") as f:
                at = f.read().find(pattern)
                if at >= 0:
                    f.seek(at)
                    f.write(bytes([pattern[0] ^ 1]))
                    return True
    return False


def test_damage(site):
    """A damaged message shows where it belongs, and nowhere else; the server stays "ok"."""
    c = site.conn("a")
    for i in range(5):
        c.request("s.x", b"damaged-%d-" % i * 20)
    c.close()
    site.server.kill()
    check("found the message", flip(site.server.store, b"damaged-3-"))
    site.server.start()
    site.find_port()
    check("the log says so", "[WRN]" in site.server.log() and 'stream "S" of account "A"' in site.server.log())
    status, body = site.ask("/healthz")
    check("healthz warns", status == 200 and body["status"] == "ok" and "damage" in body["warning"] and "damage" not in body, body)
    status, body = site.ask("/healthz?details=1")
    check("healthz lists", status == 200 and {(d["type"], d["account"], d["stream"]) for d in body["damage"]} == {("STREAM", "A", "S")},
          body)
    equal("healthz of B", site.ask("/healthz?account=B&details=1"), (200, {"status": "ok"}))
    z = site.get("/jsz?acc=A&streams=1")
    stream = z["account_details"][0]["stream_detail"][0]
    check("jsz, stream", stream["name"] == "S" and stream["millrace"]["damaged"] >= 1 and stream["millrace"]["damage"][0]["error"], stream)
    check("jsz, store", z["millrace"]["damaged_streams"] == 1 and z["millrace"]["damage"][0]["stream"] == "S", z["millrace"])
    equal("jsz of B", site.get("/jsz?acc=B")["millrace"]["damage"], [])
    with site.conn("a") as c:
        check("stream info", c.api("STREAM.INFO.S")["millrace"]["damaged"] >= 1)
    with site.conn("b") as c:
        equal("stream info of B", c.api("STREAM.INFO.S")["millrace"]["damaged"], 0)


# Where nats-server 2.14.5 and we differ, by intent: our own members, and what there is nothing of.
OURS = re.compile(r"\.(millrace|sync_always)\b")
THEIRS = re.compile(r"\.(config_digest|disk_io_wait_stats|compress_ok)\b|\.git_commit$")


def compare(peer):
    with Site() as us, Site(exe=peer) as them:
        conns = fill(us) + fill(them)
        for path in ("/varz", "/connz?auth=1&subs=detail", "/connz?state=any&subs=1", "/jsz", "/healthz", "/jsz?accounts=1",
                     "/jsz?acc=A&streams=1&consumers=1&config=1", "/jsz?raft=1"):
            a, b = us.get(path), them.get(path)
            for page in (a, b):  # in upstream streams and subscriptions come in no order
                for acc in page.get("account_details", []):
                    acc.get("stream_detail", []).sort(key=lambda s: s["name"])
                for c in page["connections"] if path.startswith("/connz") else []:
                    c.get("subscriptions_list_detail", []).sort(key=lambda s: s["subject"])
            equal("as upstream: " + path, [m for m in shape(a) if not OURS.search(m)], [m for m in shape(b) if not THEIRS.search(m)])
        check("connections stay", len(conns) == 4)
        for path in BAD:
            equal("as upstream: " + path, us.ask(path), them.ask(path))
        for q in ("?account=NOPE", "?account=A&stream=X", "?account=A&stream=S&consumer=X", "?stream=S", "?account=A&consumer=C"):
            for d in ("", "&details=1"):
                equal("as upstream: /healthz" + q + d, us.ask("/healthz" + q + d), them.ask("/healthz" + q + d))


def main():
    with Site() as site:
        conns = fill(site)
        test_varz(site)
        test_connz(site, conns)
        test_jsz(site)
        test_api(site, conns)
        test_healthz(site)
        test_bad(site)
        test_http(site)
        test_many(site)
        test_big(site)
        for c in conns:
            c.close()
    with Site() as site:
        for c in fill(site):
            c.close()
        test_damage(site)
        test_restart(site)
    test_other_servers()
    if os.environ.get("PEER"):
        compare(os.environ["PEER"])
    print("%d passed, %d failed" % (passed, len(failures)))
    return 1 if failures else 0


sys.exit(main())

#!/usr/bin/env python3
"""jetstream { domain: hub } on a single server: the API under $JS.hub.API as well, and `domain` in INFO, answers, acks of publishes
and advisories. Expected values are nats-server 2.14.5's; PEER=/path/to/nats-server runs the same there."""
import json
import os
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import checks  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402
from checks import check  # noqa: E402

CONFIG = """
server_name: s1
http: "127.0.0.1:-1"
ports_file_dir: "%s"
jetstream { store_dir: "%s", domain: hub }
accounts {
  A { jetstream: enabled, users: [{user: a, password: a}] }
  N { users: [{user: n, password: n}] }
  SYS { users: [{user: s, password: s}] }
}
system_account: SYS
"""
PEER = os.environ.get("PEER")
HUB = "$JS.hub.API."


def ask(c, subject, body=b"", hdr=None):
    if isinstance(body, dict):
        body = json.dumps(body)
    m = c.request(subject, body, hdr=hdr, timeout=3)
    return m.json() if m.data else m.headers().get("Nats-Subject")


def members(d):
    return [k for k in d if k != "millrace"]


def answers(c):
    """What carries the domain, and where in it."""
    info = ask(c, HUB + "INFO")
    check("account info", (info["domain"], members(info)[-2:]), ("hub", ["domain", "api"]))
    check("another domain", ask(c, "$JS.other.API.INFO"), "$JS.other.API.INFO")
    d = ask(c, HUB + "STREAM.CREATE.S", {"name": "S", "subjects": ["S.>"], "allow_direct": True, "allow_atomic": True})
    check("created", (d["did_create"], "domain" in d), (True, False))
    for what, body in (("STREAM.UPDATE.S", {"name": "S", "subjects": ["S.>"], "allow_direct": True, "allow_atomic": True}),
                       ("STREAM.INFO.S", b"")):
        d = ask(c, HUB + what, body)
        check(what, (d.get("domain"), members(d)[members(d).index("state") + 1]), ("hub", "domain"))
    check("list", [s.get("domain") for s in ask(c, HUB + "STREAM.LIST")["streams"]], ["hub"])
    check("names", ask(c, HUB + "STREAM.NAMES")["streams"], ["S"])
    check("consumer", "domain" in ask(c, HUB + "CONSUMER.CREATE.S.c", {
        "stream_name": "S", "config": {"name": "c", "durable_name": "c", "ack_policy": "explicit"}}), False)
    check("no such stream", ask(c, HUB + "STREAM.INFO.X")["error"]["err_code"], 10059)
    for taken in ("$JS.hub.API.X", "$JS.*.API.>", "$JS.hub.>"):
        check(taken, ask(c, HUB + "STREAM.CREATE.Q", {"name": "Q", "subjects": [taken]})["error"]["err_code"], 10052)


def publishes(c):
    def raw(subject, data=b"x", hdr=None):
        return bytes(c.request(subject, data, hdr=hdr).data).decode()

    check("ack", raw("S.a", hdr={"Nats-Msg-Id": "1"}), '{"stream":"S","domain":"hub","seq":1}')
    check("duplicate", raw("S.a", hdr={"Nats-Msg-Id": "1"}), '{"stream":"S","domain":"hub","seq":1,"duplicate": true}')
    check("error", json.loads(raw("S.a", hdr={"Nats-Expected-Last-Sequence": "7"}))["seq"], 0)
    check("no domain in errors", "hub" in raw("S.a", hdr={"Nats-Expected-Last-Sequence": "7"}), False)
    check("batch", raw("S.a", hdr={"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}),
          '{"stream":"S","domain":"hub","seq":2,"batch":"b","count":1}')
    ask(c, HUB + "STREAM.CREATE.C", {"name": "C", "subjects": ["C.>"], "allow_msg_counter": True, "allow_direct": True})
    check("counter", raw("C.a", b"", {"Nats-Incr": "5"}), '{"stream":"C","domain":"hub","seq":1,"val":"5"}')
    ask(c, HUB + "STREAM.CREATE.KV_b", {"name": "KV_b", "subjects": ["$KV.b.>"]})
    check("through the domain", raw(HUB + "$KV.b.k"), '{"stream":"KV_b","domain":"hub","seq":1}')
    check("no bucket", ask(c, HUB + "$KV.no.k"), "$KV.no.k")
    check("no store", ask(c, HUB + "$OBJ.no.k"), "$OBJ.no.k")
    long = "k." + "x" * 600
    check("a long key", raw(HUB + "$KV.b." + long), '{"stream":"KV_b","domain":"hub","seq":2}')
    check("a long name", ask(c, HUB + "STREAM.INFO." + "x" * 600)["error"]["code"] >= 400, True)


def mapping(c):
    """What is rewritten is no longer heard under its first name; the rest is."""
    sid = c.sub("$JS.hub.>")
    ask(c, HUB + "INFO")
    for heard in ("FOO", "STREAM", "INFO.x", "API.INFO"):
        c.pub(HUB + heard, b"h")
        check(heard, c.next(sid, timeout=2).subject, HUB + heard)
    for unheard in ("STREAM.FOO.BAR", "ACCOUNT.X", "META.X", "SERVER.X", "CONSUMER.X", "DIRECT.X", "$KV.x", "$OBJ.x"):
        c.pub(HUB + unheard, b"h")
    c.pub(HUB + "LAST", b"h")
    check("unheard", c.next(sid, timeout=2).subject, HUB + "LAST")
    c.unsub(sid)
    m = c.request(HUB + "CONSUMER.MSG.NEXT.S.c", b"1")
    check("next", (m.subject, m.reply.split(".")[:4]), ("S.a", ["$JS", "ACK", "S", "c"]))
    check("ack in it", bytes(c.request(m.reply, b"+TERM no").data), b"")
    check("get", ask(c, HUB + "STREAM.MSG.GET.S", {"seq": 1})["message"]["seq"], 1)
    check("direct", bytes(c.request(HUB + "DIRECT.GET.S", b'{"seq":1}').data), b"x")


def advisories(c):
    sid = c.sub("$JS.EVENT.>")
    ask(c, HUB + "STREAM.CREATE.E", {"name": "E"})
    ask(c, HUB + "STREAM.DELETE.E")
    seen = [c.next(sid, timeout=2) for _ in range(4)]
    check("domain in advisories", [list(m.json().items())[-1] for m in seen], [("domain", "hub")] * 4)
    audits = [m.json() for m in seen if m.subject == "$JS.EVENT.ADVISORY.API"]
    check("audit", [(a["subject"], a["server"], a["client"]["server"]) for a in audits],
          [("$JS.API.STREAM.CREATE.E", "s1", "s1"), ("$JS.API.STREAM.DELETE.E", "s1", "s1")])
    c.unsub(sid)
    ask(c, HUB + "STREAM.CREATE.E", {"name": "E", "subjects": ["E.>"], "allow_atomic": True})
    ask(c, HUB + "CONSUMER.CREATE.E.p", {"stream_name": "E", "config": {
        "name": "p", "ack_policy": "explicit", "priority_policy": "pinned_client", "priority_groups": ["g"]}})
    sid = c.sub("$JS.EVENT.ADVISORY.*.*.E.>")
    batch = c.sub("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.E")
    c.request("E.a", b"x")
    c.request(HUB + "CONSUMER.MSG.NEXT.E.p", b'{"group":"g","batch":1}')
    c.request("E.a", b"x", hdr={"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "eob"})
    for s, want in ((sid, ["account", "stream", "consumer", "domain", "group", "pinned_id"]), (batch, ["stream", "domain", "batch", "reason"])):
        check("order", list(c.next(s, timeout=2).json())[3:], want)
    c.unsub(sid)
    c.unsub(batch)
    ask(c, HUB + "STREAM.DELETE.E")


def others(port):
    with natsraw.Conn(port=port, connect={"user": "n", "pass": "n"}) as c:
        check("an account without JetStream", ask(c, HUB + "INFO")["error"]["err_code"], 10039)
    with natsraw.Conn(port=port, connect={"user": "s", "pass": "s"}) as c:
        check("system account", ask(c, HUB + "INFO"), HUB + "INFO")


def refused(folder):
    """Names that cannot stand in a subject stop the start."""
    exe = PEER or server.binary()
    for name, text in (("a.b", "may not contain ., * or >"), ("a*", "may not contain ., * or >"), ('"*"', "may not contain ., * or >"),
                       ('"a b"', 'derived "$JS.a b.API.>" is not a valid subject'),
                       ('">"', 'derived "$JS.>.API.>" is not a valid subject'), ("5", ""), ("true", "")):
        path = os.path.join(folder, "bad.conf")
        with open(path, "w") as f:
            f.write('listen: "127.0.0.1:-1"\njetstream { store_dir: "%s", domain: %s }\n' % (folder, name))
        p = subprocess.run([exe, "-c", path], capture_output=True, text=True, timeout=20)
        check("refused " + name, (p.returncode, text in p.stderr), (1, True))


def v2():
    """Ack subjects of the second form name the domain."""
    store = server.scratch()
    path = store + ".conf"
    with open(path, "w") as f:
        f.write('feature_flags { js_ack_fc_v2: true }\njetstream { store_dir: "%s", domain: hub }\n' % store)
    with server.Server(store=store, jetstream=False, config=path, exe=PEER) as srv, natsraw.Conn(port=srv.port) as c:
        c.api("STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["S.>"]}))
        c.request("S.a", b"x")
        ask(c, HUB + "CONSUMER.CREATE.S.c", {"stream_name": "S", "config": {"name": "c", "durable_name": "c", "ack_policy": "explicit"}})
        m = c.request(HUB + "CONSUMER.MSG.NEXT.S.c", b"1")
        check("v2", (m.reply.split(".")[:3], len(m.reply.split("."))), (["$JS", "ACK", "hub"], 11))
        check("v2 acked", bytes(c.request(m.reply, b"").data), b"")


def main():
    store = server.scratch()
    path = store + ".conf"
    with open(path, "w") as f:
        f.write(CONFIG % (store, store))
    with server.Server(store=store, jetstream=False, config=path, exe=PEER) as srv:
        check("banner", "  Domain:          hub\n" in srv.log(), True)
        with natsraw.Conn(port=srv.port, connect={"user": "a", "pass": "a"}) as c:
            check("INFO", (c.info["domain"], list(c.info).index("domain") < list(c.info).index("api_lvl")), ("hub", True))
            answers(c)
            publishes(c)
            mapping(c)
            advisories(c)
        others(srv.port)
        with open(os.path.join(store, [n for n in os.listdir(store) if n.endswith(".ports")][0])) as f:
            url = json.load(f)["monitoring"][0]
        for what in ("varz", "jsz"):
            with urllib.request.urlopen(url + "/" + what) as r:
                d = json.load(r)
            check(what, (d["jetstream"] if what == "varz" else d)["config"]["domain"], "hub")
    v2()
    refused(store)
    print("%s" % ("FAILED" if checks.failed else "passed"))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())

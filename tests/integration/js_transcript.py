#!/usr/bin/env python3
"""JetStream on the wire: scenarios whose requests and answers are written down as a transcript and compared with a kept
one (tests/integration/js/<scenario>.txt). What differs from run to run (times, made-up names, ids) is blanked.

  js_transcript.py [scenario...]            run against a fresh server of ours, compare; exit 1 on a difference
  js_transcript.py --record [scenario...]   write the kept transcripts anew
  js_transcript.py --at HOST:PORT ...       run against a server that is there (for a look at how another one answers)

The kept transcripts were compared with nats-server 2.14.5; where ours differ on purpose the scenario says so."""
import base64
import difflib
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "js"))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import scenarios_parity  # noqa: E402
import scenarios_pub  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402

API = "$JS.API."


def blank(text):
    text = re.sub(r'"_nats\.[^,}]*,?', "", text)
    text = re.sub(r',?"metadata":\{\}', "", text)
    text = re.sub(r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    text = re.sub(r"_INBOX[.0-9a-f]+", "INBOX", text)
    text = re.sub(r"(\$JS\.ACK\.[^ ]*\.)\d{19}(\.\d+)", r"\1TS\2", text)
    text = re.sub(r'"id":"[A-Za-z0-9]{22}"', '"id":"ID"', text)
    text = re.sub(r'"leader":"[^"]*"', '"leader":"NAME"', text)
    text = re.sub(r',"millrace":\{[^}]*\}', "", text)
    return text.replace(",}", "}")


class Run:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.c = natsraw.Conn(host, port)
        self.lines = []
        self.names = {}

    def say(self, *parts):
        line = blank(" ".join(str(p) for p in parts))
        for name, stand_in in self.names.items():
            line = line.replace(name, stand_in)
        self.lines.append(line)

    def show(self, label, m):
        if isinstance(m, Exception):
            self.say(label, "->", "nothing")
        else:
            data = m.data.decode(errors="replace")
            self.say(label, "->", m.subject if not m.subject.startswith("_INBOX") else "INBOX", m.reply,
                     repr(m.hdr.decode()) if m.hdr else "", blank(data)[:4000])

    def try_request(self, subject, data=b"", hdr=None, timeout=1.5):
        try:
            return self.c.request(subject, data, hdr, timeout)
        except TimeoutError as e:
            return e

    def api(self, what, data=b"", quiet=False):
        m = self.try_request(API + what, data)
        if not quiet:
            self.show("%s %s" % (what, (json.dumps(data) if isinstance(data, dict) else data)[:300] or ""), m)
        try:
            return m.json()
        except (ValueError, AttributeError):
            return {}

    def pub(self, subject, data="x", hdr=None):
        self.show("pub %s %s %s" % (subject, data[:20], hdr or ""), self.try_request(subject, data, hdr))

    def stream(self, name, quiet=True, **cfg):
        body = {"name": name, "subjects": [name.lower() + ".>"]}
        body.update(cfg)
        return self.api("STREAM.CREATE." + name, body, quiet)

    def consumer(self, stream, name, quiet=True, **cfg):
        body = {"name": name, "durable_name": name, "ack_policy": "explicit"}
        body.update(cfg)
        return self.api("CONSUMER.CREATE.%s.%s" % (stream, name),
                        {"stream_name": stream, "config": {k: v for k, v in body.items() if v is not None}}, quiet)

    def pull(self, stream, consumer, body, wait=0.3, most=20):
        if isinstance(body, dict):
            body = json.dumps(body)
        inbox, sid = self.c.new_inbox()
        self.c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer), body, inbox)
        self.say("next", stream, consumer, body)
        self.drain(sid, wait, most)
        self.c.unsub(sid)

    def drain(self, sid, wait=0.3, most=20, answer=False):
        got = []
        for _ in range(most):
            try:
                m = self.c.next(sid, wait)
            except TimeoutError:
                break
            self.show("   ", m)
            if answer and m.reply:
                self.c.pub(m.reply)
            got.append(m)
        return got


def diff_config(r, label, answer, base):
    """Shows an error, or only the members of the config that differ from base."""
    if "error" in answer:
        e = answer["error"]
        r.say(label, "-> %d %d %s" % (e["code"], e["err_code"], e["description"]))
        return
    cfg = answer.get("config", {})
    d = {k: v for k, v in cfg.items() if base.get(k) != v and k != "metadata"}
    gone = [k for k in base if k not in cfg and k != "metadata"]
    d.update({k: "absent" for k in gone})
    meta = {k: v for k, v in cfg.get("metadata", {}).items() if not k.startswith("_nats.")}
    if meta:
        d["metadata"] = meta
    r.say(label, "-> ok", json.dumps(d))


# --- scenarios ------------------------------------------------------------------------------------------------

def basics(r):
    """The bytes of every answer, field by field, in order."""
    r.api("INFO")
    r.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
    r.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
    r.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"]})
    r.api("STREAM.CREATE.T", {"name": "T", "subjects": ["s.x"]})
    r.api("STREAM.CREATE.M", {"name": "M", "storage": "memory", "retention": "workqueue", "discard": "new",
                              "max_age": 10000000000, "max_msgs_per_subject": 5, "description": "d<&>",
                              "metadata": {"b": "2", "a": "1"}, "allow_rollup_hdrs": True, "max_msgs": 100})
    r.api("STREAM.CREATE.O", {"name": "O", "description": "d", "subjects": ["o.*"], "no_ack": True, "first_seq": 5,
                              "discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 4,
                              "metadata": {"z": "1"},
                              "consumer_limits": {"max_ack_pending": 50, "inactive_threshold": 60000000000}})
    r.pub("s.a", "hello")
    r.pub("s.a", "hello", {"Nats-Msg-Id": "x"})
    r.pub("s.a", "hello", {"Nats-Msg-Id": "x"})
    r.api("STREAM.INFO.S")
    r.api("STREAM.INFO.S", {"subjects_filter": ">", "deleted_details": True})
    r.api("STREAM.LIST")
    r.api("STREAM.NAMES")
    r.api("STREAM.NAMES", {"subject": "s.a"})
    r.api("CONSUMER.DURABLE.CREATE.S.D", {"stream_name": "S", "config": {"durable_name": "D", "ack_policy": "explicit"}})
    r.api("CONSUMER.CREATE.S.N", {"stream_name": "S", "config": {
        "name": "N", "ack_policy": "none", "deliver_subject": "foo", "flow_control": True,
        "idle_heartbeat": 5000000000, "deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"}})
    r.api("CONSUMER.CREATE.S.k", {"stream_name": "S", "config": {
        "name": "k", "durable_name": "k", "description": "d", "ack_policy": "explicit", "backoff": [1, 2],
        "filter_subject": "s.*", "flow_control": True, "headers_only": True, "max_batch": 3, "max_expires": 5000000,
        "max_bytes": 5, "deliver_subject": "q", "deliver_group": "g", "idle_heartbeat": 1000000000,
        "inactive_threshold": 50000000000, "num_replicas": 1, "mem_storage": True, "metadata": {"a": "b"},
        "opt_start_seq": 3, "deliver_policy": "by_start_sequence"}})
    made = r.api("CONSUMER.CREATE.S", {"stream_name": "S", "config": {"ack_policy": "explicit"}}, quiet=True)
    r.say("made-up name", len(made["name"]), "in config:", "name" in made["config"])
    r.api("CONSUMER.DELETE.S." + made["name"], quiet=True)
    r.api("CONSUMER.INFO.S.D")
    r.api("CONSUMER.NAMES.S")
    r.api("CONSUMER.LIST.S")
    for body in ("", "1", {"batch": 10, "no_wait": True}, {"batch": 10, "expires": 100000000}):
        r.pull("S", "D", body)
    r.api("CONSUMER.INFO.S.D")
    for body in ({"seq": 1}, {"seq": 2}, {"seq": 20}, {"last_by_subj": "s.a"}, {"next_by_subj": "s.>", "seq": 2}):
        r.api("STREAM.MSG.GET.S", body)
    r.api("DIRECT.GET.S", {"last_by_subj": "s.a"})
    r.api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"], "allow_direct": True})
    for body in ({"last_by_subj": "s.a"}, {"seq": 2}, {"seq": 222}, {}, "", "{"):
        r.api("DIRECT.GET.S", body)
    r.api("DIRECT.GET.S.s.a")
    r.api("DIRECT.GET.S.s.b")
    r.api("STREAM.MSG.DELETE.S", {"seq": 1})
    r.api("STREAM.MSG.DELETE.S", {"seq": 1})
    r.api("STREAM.CREATE.DEL", {"name": "DEL", "subjects": ["del"]}, quiet=True)
    r.api("STREAM.CREATE.DELM", {"name": "DELM", "subjects": ["delm"], "storage": "memory"}, quiet=True)
    for _ in range(4):
        r.try_request("del")
        r.try_request("delm")
    for name in ("DEL", "DELM"):
        for seq in (0, 3, 3, 1, 1, 4, 4, 5, 2, 2):
            r.api("STREAM.MSG.DELETE." + name, {"seq": seq})
        r.api("STREAM.DELETE." + name, quiet=True)
    r.api("STREAM.PURGE.S", {"filter": "s.b"})
    r.api("STREAM.PURGE.S")
    r.api("CONSUMER.DELETE.S.N")
    r.api("CONSUMER.DELETE.S.N")
    r.api("CONSUMER.INFO.S.N")
    for s in "SMO":
        r.api("STREAM.DELETE." + s)
    r.api("STREAM.DELETE.M")
    r.api("STREAM.INFO.M")
    r.api("STREAM.LIST")
    r.api("STREAM.NAMES")


def streams(r):
    """Configs of streams: what is filled in, what is refused. Refusals `is not served yet` are ours."""
    base = r.stream("S")["config"]
    r.api("STREAM.DELETE.S", quiet=True)
    for text in ("", "{", "[]", "{}x", '{"name":5}', '{"name":"S","max_msgs":"5"}', '{"name":"S","max_msgs":5.5}',
                 '{"name":"S","first_seq":-1}', '{"name":"S","subjects":"x"}', '{"name":"S","subjects":[1]}',
                 '{"name":"S","retention":"foo"}', '{"name":"S","discard":"foo"}', '{"name":"S","storage":"foo"}',
                 '{"name":"S","compression":"foo"}', '{"name":"S","persist_mode":"foo"}', '{"name":"S","no_ack":1}',
                 '{"name":"S","metadata":{"a":1}}', '{"name":"S","foo":1}', '{"name":"S","max_age":"1s"}',
                 '{"name":"S","max_consumers":"x"}'):
        diff_config(r, text, r.api("STREAM.CREATE.S", text, quiet=True), base)

    def make(name="S", **cfg):
        body = {"name": "S", "subjects": ["s.>"]}
        body.update(cfg)
        a = r.api("STREAM.CREATE." + name, {k: v for k, v in body.items() if v != "absent"}, quiet=True)
        diff_config(r, json.dumps(cfg)[:200], a, base)
        r.api("STREAM.DELETE." + name, quiet=True)

    for cfg in (dict(name="x*y", subjects=["q"]), dict(name="a/b"), dict(name="a\\b"), dict(name="x" * 256)):
        make(**cfg)
    diff_config(r, "name T", r.api("STREAM.CREATE.S", {"name": "T"}, quiet=True), base)
    for subjects in ([], ["s.>", "s.a"], ["s..a"], ["s.a "], [""], [">"], ["*"], ["*.*"], ["$JS.API.>"], ["$JS.>"],
                     ["$SYS.>"], ["$SYS.ACCOUNT.x"], ["$JS.EVENT.>"], ["$JS.ACK.x"], ["$JSC.x"], ["$NRG.x"],
                     ["_INBOX.>"], ["*.API.>"], ["*.>"], ["$KV.a.>"], ["a.*", "*.b"], ["a", "a"]):
        make(subjects=subjects)
    make(subjects=[">"], no_ack=True)
    for cfg in (dict(max_msgs=0), dict(max_msgs=-5), dict(max_bytes=0), dict(max_consumers=0), dict(max_msg_size=0),
                dict(max_msg_size=3000000000), dict(max_age=-1), dict(max_age=1), dict(max_age=100000000),
                dict(max_msgs_per_subject=0), dict(duplicate_window=-1), dict(duplicate_window=0),
                dict(duplicate_window=1), dict(duplicate_window=200000000000, max_age=100000000000),
                dict(num_replicas=0), dict(num_replicas=3), dict(num_replicas=6), dict(num_replicas=-1),
                dict(discard="new", discard_new_per_subject=True), dict(discard_new_per_subject=True),
                dict(discard="new", discard_new_per_subject=True, max_msgs_per_subject=5), dict(sealed=True),
                dict(deny_purge=True, allow_rollup_hdrs=True),
                dict(deny_purge=True, allow_rollup_hdrs=True, discard_new_per_subject=True), dict(deny_delete=True, deny_purge=True),
                dict(description="x" * 5000), dict(metadata={"a": "x" * 140000}), dict(metadata={"a": "b"}),
                dict(first_seq=10), dict(placement={"cluster": "x"}), dict(placement={}), dict(mirror_direct=True),
                dict(republish={"src": ">", "dest": "foo.>"}), dict(subject_transform={"src": "s.>", "dest": "t.>"}),
                dict(consumer_limits={"max_ack_pending": 5}), dict(subject_delete_marker_ttl=1000000000),
                dict(allow_atomic=True), dict(allow_msg_counter=True), dict(allow_msg_schedules=True),
                dict(allow_batched=True), dict(allow_msg_ttl=True), dict(mirror={"name": "x"}),
                dict(sources=[{"name": "x"}]), dict(sources=[]), dict(mirror=None), dict(template_owner="x"),
                dict(pedantic=True), dict(pedantic=True, duplicate_window=0, max_age=1000000000),
                dict(retention="workqueue"), dict(retention="interest"), dict(storage="memory")):
        make(**cfg)

    def update(cfg, change):
        body = {"name": "U", "subjects": ["u.>"]}
        body.update(cfg)
        r.api("STREAM.CREATE.U", body, quiet=True)
        body.update(change)
        diff_config(r, "update %s %s" % (json.dumps(cfg), json.dumps(change)),
                    r.api("STREAM.UPDATE.U", body, quiet=True), base)
        r.api("STREAM.DELETE.U", quiet=True)

    for cfg, change in (({}, {"storage": "memory"}), ({}, {"retention": "workqueue"}), ({}, {"discard": "new"}),
                        ({}, {"max_consumers": 4}), ({}, {"max_msgs": 5}), ({}, {"subjects": ["x"]}),
                        ({}, {"subjects": []}), ({}, {"name": "V"}), ({"deny_delete": True}, {"deny_delete": False}),
                        ({"deny_purge": True}, {"deny_purge": False}), ({}, {"sealed": True}),
                        ({}, {"duplicate_window": 1000000000}), ({}, {"max_age": 1000000000}),
                        ({}, {"persist_mode": "async"}), ({"allow_msg_ttl": True}, {"allow_msg_ttl": False}),
                        ({}, {"description": "z"}), ({"metadata": {"a": "1"}}, {"metadata": {}}),
                        ({"no_ack": True}, {"no_ack": False}), ({"allow_direct": True}, {"allow_direct": False}),
                        ({}, {"num_replicas": 3})):
        update(cfg, change)
    r.api("STREAM.UPDATE.X", {"name": "X"})
    for what, body in (("STREAM.INFO.X", ""), ("STREAM.DELETE.X", "{}"), ("STREAM.DELETE.X", "foo"),
                       ("STREAM.NAMES", {"offset": 5}), ("STREAM.NAMES", {"foo": 5}), ("STREAM.LIST", {"offset": -5}),
                       ("STREAM.PURGE.X", ""), ("STREAM.MSG.GET.X", {}), ("STREAM.MSG.GET.X", ""),
                       ("STREAM.MSG.DELETE.X", ""), ("STREAM.PEER.REMOVE.X", ""), ("STREAM.LEADER.STEPDOWN.X", "")):
        r.api(what, body)


def consumers(r):
    """Configs of consumers, the three forms of create, updates, work queues."""
    r.stream("C")
    base = r.consumer("C", "b", durable_name=None)["config"]
    r.api("CONSUMER.DELETE.C.b", quiet=True)

    def make(cfg, subject="CONSUMER.CREATE.C.k", keep=False, **top):
        body = {"stream_name": "C", "config": cfg}
        body.update(top)
        a = r.api(subject, {k: v for k, v in body.items() if v != "absent"}, quiet=True)
        a.get("config", {}).pop("name", None)
        diff_config(r, "%s %s %s" % (subject[:40], json.dumps(cfg)[:200], top or ""), a,
                    {k: v for k, v in base.items() if k != "name"})
        if "name" in a and not keep:
            r.api("CONSUMER.DELETE.C." + a["name"], quiet=True)

    def k(**cfg):
        out = {"name": "k", "ack_policy": "explicit"}
        out.update(cfg)
        return {a: b for a, b in out.items() if b != "absent"}

    none = "absent"
    make({})
    for cfg in (k(name="z"), k(name=none), k(durable_name="k"), k(durable_name="z"), k(ack_policy="none"),
                k(ack_policy="all"), k(ack_policy="foo"), k(deliver_policy="foo"), k(replay_policy="foo"), k(foo=1),
                k(ack_wait="x")):
        make(cfg)
    make(k(), stream_name="D")
    make(k(), stream_name=none)
    make(k(), foo=1)
    make(k(), config=none)
    make(k(), "CONSUMER.CREATE.ZZ.k", stream_name="ZZ")
    for cfg, subject in ((k(name="a.b"), "CONSUMER.CREATE.C"), (k(name=none), "CONSUMER.CREATE.C"),
                         (k(name="q"), "CONSUMER.CREATE.C"), (k(durable_name="q", name=none), "CONSUMER.CREATE.C"),
                         (k(durable_name="q", name=none), "CONSUMER.DURABLE.CREATE.C.q"),
                         (k(name=none), "CONSUMER.DURABLE.CREATE.C.q"),
                         (k(durable_name="w", name=none), "CONSUMER.DURABLE.CREATE.C.q"),
                         (k(name="a/b"), "CONSUMER.CREATE.C.a/b"), (k(name="x*"), "CONSUMER.CREATE.C.x*"),
                         (k(name="x" * 256), "CONSUMER.CREATE.C." + "x" * 256)):
        make(cfg, subject)
    for cfg in (k(deliver_policy="last"), k(deliver_policy="by_start_sequence"),
                k(deliver_policy="by_start_sequence", opt_start_seq=5), k(deliver_policy="by_start_time"),
                k(deliver_policy="by_start_time", opt_start_time="x"), k(deliver_policy="last_per_subject"),
                k(deliver_policy="last_per_subject", filter_subject="c.a"), k(opt_start_seq=5),
                k(opt_start_time="2020-01-01T00:00:00Z"), k(deliver_policy="last", opt_start_seq=3),
                k(deliver_policy="new", opt_start_seq=3),
                k(deliver_policy="by_start_time", opt_start_time="2020-01-01T00:00:00Z", opt_start_seq=3),
                k(filter_subject="c.a"), k(filter_subject="z"), k(filter_subject="c..a"),
                k(filter_subjects=["c.a", "c.b"]), k(filter_subjects=["c.a", "c.*"]), k(filter_subjects=["c.a", ""]),
                k(filter_subjects=["c.a"], filter_subject="c.b"), k(filter_subjects=[])):
        make(cfg)
    for cfg in (k(filter_subject="c.a"), k(filter_subject="c.b"), k(), k(filter_subjects=["c.a", "c.b"])):
        make(cfg, "CONSUMER.CREATE.C.k.c.a")
    for cfg in (k(ack_wait=0), k(ack_wait=-1), k(max_deliver=0), k(max_deliver=-5), k(max_ack_pending=0),
                k(max_ack_pending=-1), k(ack_policy="none", max_ack_pending=5), k(max_waiting=0), k(max_waiting=5),
                k(max_batch=-1), k(max_expires=1), k(max_expires=1000000), k(max_bytes=100), k(backoff=[1, 2]),
                k(backoff=[1, 2], max_deliver=1), k(backoff=[-5], max_deliver=3), k(sample_freq="x"), k(sample_freq=""),
                k(rate_limit_bps=5), k(idle_heartbeat=1000000000), k(flow_control=True), k(inactive_threshold=-1),
                k(num_replicas=1), k(num_replicas=3), k(num_replicas=-1), k(mem_storage=True), k(direct=True),
                k(headers_only=True), k(description="x" * 5000), k(metadata={"a": "b"}), k(metadata={"a": "x" * 150000}),
                k(pause_until="2030-01-01T00:00:00Z"), k(priority_groups=["a"], priority_policy="overflow"),
                k(priority_policy="none"), k(sourcing=True)):
        make(cfg)

    def push(**cfg):
        return k(deliver_subject="dd", **cfg)

    for cfg in (push(), push(max_waiting=5), push(idle_heartbeat=1), push(flow_control=True),
                push(flow_control=True, idle_heartbeat=100000000), push(deliver_group="g"), k(deliver_subject="d.*"),
                k(deliver_subject="c.x"), k(deliver_subject="d d"), push(direct=True),
                push(durable_name="k", direct=True)):
        make(cfg)

    def update(a, b, action=""):
        make(a, keep=True)
        make(b, **({"action": action} if action else {}))
        r.api("CONSUMER.DELETE.C.k", quiet=True)

    def d(**cfg):
        return k(durable_name="k", **cfg)

    update(d(), d(), "create")
    update(k(), k(), "create")
    update(k(), k(), "update")
    update(k(inactive_threshold=5000000000), k(inactive_threshold=5000000000), "create")
    for when in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z"):
        make(k(deliver_policy="by_start_time", opt_start_time=when))
        make(k(deliver_policy="all", opt_start_time=when))
    update(d(), d(max_deliver=5), "create")
    update(d(), d(max_deliver=5), "update")
    make(d(), action="update")
    make(d(), action="foo")
    make(d(), action=1.5)
    for cfg in (dict(deliver_policy="new"), dict(ack_policy="none"), dict(filter_subject="c.a"),
                dict(ack_wait=5000000000), dict(deliver_subject="x"), dict(max_waiting=9), dict(mem_storage=True),
                dict(headers_only=True), dict(inactive_threshold=1000000000), dict(max_batch=5),
                dict(description="r"), dict(max_ack_pending=5)):
        update(d(), d(**cfg))
    update(d(deliver_subject="y"), d())
    update(d(deliver_subject="y"), d(deliver_subject="x"))
    r.api("STREAM.DELETE.C", quiet=True)

    def queue(name, **cfg):
        a = r.consumer("W", name, **cfg)
        diff_config(r, "W %s %s" % (name, cfg), a, dict(base, name=name))

    r.stream("W", retention="workqueue")
    queue("a", ack_policy="none")
    queue("a", ack_policy="all")
    queue("a", deliver_policy="new")
    queue("a")
    queue("b")
    queue("c", filter_subject="w.a")
    r.api("CONSUMER.DELETE.W.a", quiet=True)
    queue("c", filter_subject="w.a")
    queue("d", filter_subject="w.*")
    queue("d", filter_subject="w.b")
    queue("e")
    queue("f", filter_subjects=["w.c", "w.b"])
    r.api("STREAM.DELETE.W", quiet=True)
    r.stream("W", max_consumers=1)
    queue("a")
    queue("b")
    queue("a", description="r")
    r.api("STREAM.DELETE.W", quiet=True)
    r.stream("W", consumer_limits={"max_ack_pending": 7, "inactive_threshold": 1000000000})
    queue("a")
    queue("b", max_ack_pending=9)
    queue("b", inactive_threshold=5000000000)
    r.api("STREAM.DELETE.W", quiet=True)


def publish(r):
    """Headers of a publish, limits, PubAck and its errors."""
    r.stream("P", max_msgs=1000)
    for hdr in (None, {"Nats-Expected-Stream": "X"}, {"Nats-Expected-Stream": "P"}, {"Nats-Expected-Last-Sequence": "9"},
                {"Nats-Expected-Last-Sequence": "2"}, {"Nats-Expected-Last-Sequence": "abc"},
                {"Nats-Expected-Last-Msg-Id": "q"}, {"Nats-Msg-Id": "m1"}, {"Nats-Expected-Last-Msg-Id": "m1"},
                {"Nats-Expected-Last-Subject-Sequence": "1"}, {"Nats-Expected-Last-Subject-Sequence": "abc"},
                {"Nats-Expected-Last-Subject-Sequence": "1", "Nats-Expected-Last-Subject-Sequence-Subject": "p.zzz"},
                {"Nats-Expected-Last-Subject-Sequence": "0", "Nats-Expected-Last-Subject-Sequence-Subject": "p.zzz"},
                {"Nats-Expected-Last-Subject-Sequence-Subject": "p.zzz"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1"},
                {"Nats-TTL": "x"}, {"Nats-Incr": "1"}, {"Nats-Batch-Id": "1", "Nats-Batch-Sequence": "1"},
                {"Nats-Schedule": "@at 2030-01-01T00:00:00Z"}, {"Nats-Schedule-Next": "purge"}, {"nats-msg-id": "m1"},
                {"Nats-Msg-Id": ""}, {"A": "b" * 70000}):
        r.pub("p.a", "x", hdr)
    r.pub("p.new", "x", {"Nats-Expected-Last-Subject-Sequence": "0"})
    r.pub("p.new", "x", {"Nats-Expected-Last-Subject-Sequence": "0"})
    r.api("STREAM.UPDATE.P", {"name": "P", "subjects": ["p.>"], "allow_rollup_hdrs": True}, quiet=True)
    for hdr in ({"Nats-Rollup": "foo"}, {"Nats-Rollup": "sub"}, {"Nats-Rollup": "ALL"}):
        r.pub("p.a", "x", hdr)
    state = r.api("STREAM.INFO.P", quiet=True)["state"]
    r.say("state", state["messages"], state["first_seq"], state["last_seq"])
    for cfg, pubs in ((dict(max_msg_size=10), ["p.a"]), (dict(max_msgs=2, discard="new"), ["p.a", "p.b", "p.c"]),
                      (dict(discard="new", max_msgs_per_subject=1, discard_new_per_subject=True), ["p.a", "p.a"]),
                      (dict(discard="new", max_bytes=80), ["p.a", "p.b", "p.c"])):
        r.api("STREAM.DELETE.P", quiet=True)
        r.stream("P", **cfg)
        for s in pubs:
            r.pub(s, "0123456789a")
    r.api("STREAM.DELETE.P", quiet=True)
    r.stream("P")
    r.pub("p.a")
    r.api("STREAM.UPDATE.P", {"name": "P", "subjects": ["p.>"], "sealed": True}, quiet=True)
    r.pub("p.a")
    r.api("STREAM.PURGE.P")
    r.api("STREAM.MSG.DELETE.P", {"seq": 1})
    r.api("STREAM.DELETE.P", quiet=True)
    r.stream("P", deny_delete=True, deny_purge=True)
    r.pub("p.a")
    r.api("STREAM.PURGE.P")
    r.api("STREAM.MSG.DELETE.P", {"seq": 1})
    r.api("STREAM.DELETE.P", quiet=True)
    r.stream("P")
    for h in (b"NATS/1.0\r\nFoo\r\n\r\n", b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nNats-Msg-Id:nospace\r\n\r\n",
              b"NATS/1.0\r\nX-Nats-Msg-Id: two\r\n\r\n", b"NATS/1.0\r\nX: Nats-Expected-Stream: foo\r\n\r\n",
              b"NATS/1.0\r\nNats-Msg-Id: d1\r\nNats-Msg-Id: d2\r\n\r\n"):
        inbox, sid = r.c.new_inbox()
        r.c.send(b"HPUB p.a %s %d %d\r\n" % (inbox.encode(), len(h), len(h) + 1) + h + b"x\r\n")
        r.show(repr(h), r.c.next(sid, 1))
        r.c.unsub(sid)
    for seq in range(1, 7):
        m = r.api("STREAM.MSG.GET.P", {"seq": seq}, quiet=True)["message"]
        r.say(seq, base64.b64decode(m.get("hdrs", "")))
    for i in ("d1", "d2", "nospace"):
        r.pub("p.a", "x", {"Nats-Msg-Id": i})
    r.api("STREAM.DELETE.P", quiet=True)


def pull(r):
    """Pull requests: bodies, statuses, limits, redelivery, order."""
    r.stream("P")
    r.consumer("P", "a")
    r.consumer("P", "lim", max_batch=3, max_expires=200000000, max_bytes=100, max_waiting=2)
    for body in ({"batch": 5, "no_wait": True}, {"batch": 5, "expires": 100000000},
                 {"batch": 5, "expires": 100000000, "no_wait": True},
                 {"batch": 5, "expires": 400000000, "idle_heartbeat": 150000000},
                 {"batch": 5, "expires": 1000000000, "idle_heartbeat": 600000000}, "{", {"batch": "x"},
                 {"idle_heartbeat": 100000000}, {"batch": 1, "id": "x", "no_wait": True},
                 {"batch": 1, "min_pending": 3, "no_wait": True}, {"batch": 1, "expires": -5}):
        r.pull("P", "a", body)
    for body in ({"batch": 4}, {"batch": 1, "expires": 300000000}, {"batch": 1, "expires": 100000000, "max_bytes": 1000}):
        r.pull("P", "lim", body)
    inboxes = [r.c.new_inbox() for _ in range(3)]
    for inbox, _ in inboxes:
        r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P.lim", '{"batch":1,"expires":150000000}', inbox)
    for _, sid in inboxes:
        r.drain(sid)
    for i in range(5):
        r.pub("p.%d" % i, "m%d" % i + "y" * 20)
    r.pull("P", "a", {"batch": 2, "expires": 100000000})
    r.pull("P", "a", {"batch": 5, "no_wait": True})
    r.consumer("P", "b")
    for body in ({"batch": 5, "max_bytes": 100, "expires": 100000000}, {"batch": 5, "max_bytes": 10, "no_wait": True}):
        r.pull("P", "b", body)
    r.consumer("P", "h", headers_only=True)
    r.pull("P", "h", {"batch": 2, "max_bytes": 1000, "no_wait": True})
    r.pull("P", "h", {"batch": 5, "max_bytes": 100, "no_wait": True})
    r.consumer("P", "e", max_ack_pending=2)
    r.pull("P", "e", {"batch": 5, "expires": 100000000})
    r.consumer("P", "g", ack_wait=200000000, max_deliver=2)
    r.pull("P", "g", {"batch": 6, "expires": 600000000}, 0.7)
    inbox, sid = r.c.new_inbox()
    r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P.a", '{"batch":1,"expires":5000000000}', inbox)
    r.c.ping()
    r.say("waiting", r.api("CONSUMER.INFO.P.a", quiet=True)["num_waiting"])
    r.c.unsub(sid)
    r.c.ping()
    r.say("waiting", r.api("CONSUMER.INFO.P.a", quiet=True)["num_waiting"])
    inbox, sid = r.c.new_inbox()
    r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P.a", '{"batch":1,"expires":5000000000}', inbox)
    r.c.ping()
    r.api("CONSUMER.DELETE.P.a")
    r.drain(sid)
    r.pull("P", "a", "1")
    # two requests take turns
    r.consumer("P", "h")
    inboxes = [r.c.new_inbox() for _ in range(2)]
    r.api("STREAM.PURGE.P", quiet=True)
    for inbox, _ in inboxes:
        r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P.h", '{"batch":2,"expires":1000000000}', inbox)
    r.c.ping()
    for i in range(4):
        r.c.pub("p.t", "t%d" % i)
    r.c.ping()
    for _, sid in inboxes:
        r.say("in turn", [r.c.next(sid, 2).data for _ in range(2)])
    # no_wait with expires that max_ack_pending holds: over with its first heartbeat, if it got something
    r.consumer("P", "n", max_ack_pending=2)
    held = '{"batch":5,"no_wait":true,"expires":1000000000,"idle_heartbeat":400000000}'
    r.pull("P", "n", held, 0.7, 3)
    r.pull("P", "n", held, 0.7, 1)
    r.api("STREAM.DELETE.P", quiet=True)


def acks(r):
    """All bodies of an acknowledgement, and acks nobody takes."""
    r.stream("P")
    for i in range(6):
        r.c.pub("p.%d" % i, "m%d" % i)
    r.c.ping()
    r.consumer("P", "k")

    def one(consumer="k"):
        inbox, sid = r.c.new_inbox()
        r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P." + consumer, '{"batch":1,"expires":1000000000}', inbox)
        m = r.c.next(sid, 2)
        r.c.unsub(sid)
        r.show("got", m)
        return m

    def ack(reply, body):
        r.show("ack %s %s" % (reply, body), r.try_request(reply, body, timeout=0.5))

    m = one()
    ack(m.reply, b"")
    ack(m.reply, b"")
    ack(one().reply, b"+ACK")
    ack(one().reply, b"-NAK")
    ack(one().reply, b'-NAK {"delay":100000000}')
    m = one()
    ack(m.reply, b"+WPI")
    ack(m.reply, b"+FOO")
    ack(m.reply, b"+NXT")
    ack(m.reply.replace("P.k.3.3", "P.k.3.3"), b"+TERM because")
    ack(one().reply, b"+OK")
    info = r.api("CONSUMER.INFO.P.k", quiet=True)
    r.say({k: info[k] for k in ("num_ack_pending", "num_pending", "num_waiting")}, info["ack_floor"]["stream_seq"])
    ack("$JS.ACK.P.nope.1.1.1.1.0", b"")
    ack("$JS.ACK.P.k.x", b"")
    r.consumer("P", "all", ack_policy="all")
    for _ in range(3):
        m = one("all")
    ack(m.reply, b"")
    info = r.api("CONSUMER.INFO.P.all", quiet=True)
    r.say({k: info[k] for k in ("num_ack_pending", "num_pending")}, info["ack_floor"]["stream_seq"])
    r.api("STREAM.DELETE.P", quiet=True)
    r.stream("P", retention="workqueue")
    r.c.pub("p.a", "w")
    r.c.ping()
    r.consumer("P", "k")
    ack(one().reply, b"")
    r.say("left", r.api("STREAM.INFO.P", quiet=True)["state"]["messages"])
    r.api("STREAM.DELETE.P", quiet=True)


def push(r):
    """Push: heartbeats, flow control, headers only, bound or not, groups, inactivity."""
    r.stream("P")
    for i in range(3):
        r.pub("p.%d" % i, "m%d" % i + "y" * 20)
    sid = r.c.sub("dd")
    r.consumer("P", "a", False, durable_name=None, deliver_subject="dd", idle_heartbeat=200000000, flow_control=True,
               ack_policy="none")
    r.drain(sid, 0.4, 5)
    r.api("CONSUMER.DELETE.P.a", quiet=True)
    sid = r.c.sub("ee")
    r.pub("p.h", "zz", {"X": "1"})
    r.consumer("P", "b", durable_name=None, deliver_subject="ee", headers_only=True, ack_policy="none",
               deliver_policy="last_per_subject", filter_subject=">")
    r.drain(sid)
    r.consumer("P", "d", deliver_subject="gg")
    info = r.api("CONSUMER.INFO.P.d", quiet=True)
    r.say("bound", info.get("push_bound"), info["num_pending"])
    sid = r.c.sub("gg")
    r.drain(sid)
    info = r.api("CONSUMER.INFO.P.d", quiet=True)
    r.say("bound", info.get("push_bound"), info["num_pending"], info["num_ack_pending"])
    r.consumer("P", "d", False, deliver_subject="gg2")
    r.pull("P", "d", "1")
    r.c.sub("hh", "q")
    r.consumer("P", "e", deliver_subject="hh", deliver_group="q")
    r.say("group", r.api("CONSUMER.INFO.P.e", quiet=True).get("push_bound"))
    r.consumer("P", "e2", deliver_subject="hh2", deliver_group="q")
    sid = r.c.sub("hh2")
    r.drain(sid, 0.2)
    r.say("group", r.api("CONSUMER.INFO.P.e2", quiet=True).get("push_bound"))
    sid = r.c.sub("ii")
    r.consumer("P", "f", durable_name=None, deliver_subject="ii", inactive_threshold=200000000)
    r.say("there", "error" not in r.api("CONSUMER.INFO.P.f", quiet=True))
    r.c.unsub(sid)
    r.drain(r.c.sub("nothing.comes"), 0.7)
    r.say("there", "error" not in r.api("CONSUMER.INFO.P.f", quiet=True))
    # flow control: a window's worth of data makes requests; without an answer delivery stops
    sid = r.c.sub("ff")
    r.consumer("P", "c", durable_name=None, deliver_subject="ff", idle_heartbeat=300000000, flow_control=True,
               ack_policy="none", deliver_policy="new", mem_storage=True)
    total = 40
    for i in range(total):
        r.c.pub("p.big", "z" * 500000)
    r.c.ping()
    got, asked, stalled = 0, 0, False
    fc = None
    for _ in range(400):
        m = r.c.next(sid, 2)
        if b"FlowControl" in m.hdr:
            asked += 1
            fc = m.reply
            if stalled:
                r.c.pub(fc)
        elif b"Stalled" in m.hdr:
            stalled = True
            r.c.pub(fc)
        elif b"Idle" in m.hdr:
            if got == total:
                break
        else:
            got += 1
    r.say("flow control", got == total, asked > 1, stalled)
    r.api("STREAM.DELETE.P", quiet=True)


def advisories(r):
    """What is told on $JS.EVENT.ADVISORY (api_audit is not made yet)."""
    sid = r.c.sub("$JS.EVENT.>")
    r.stream("P")
    for i in range(3):
        r.c.pub("p.%d" % i, "m%d" % i)
    r.consumer("P", "m", ack_wait=100000000, max_deliver=1)
    r.consumer("P", "n")

    def one(consumer):
        inbox, s = r.c.new_inbox()
        r.c.pub("$JS.API.CONSUMER.MSG.NEXT.P." + consumer, '{"batch":1,"expires":1000000000}', inbox)
        return r.c.next(s, 2)

    one("m")
    r.drain(r.c.sub("nothing.comes"), 0.4)
    r.c.pub(one("n").reply, b"-NAK")
    r.c.pub(one("n").reply, b"+TERM foo bar")
    r.api("CONSUMER.DELETE.P.m", quiet=True)
    r.api("STREAM.UPDATE.P", {"name": "P", "subjects": ["p.>"], "max_msgs": 5000}, quiet=True)
    r.api("STREAM.DELETE.P", quiet=True)
    seen = []
    while True:
        try:
            m = r.c.next(sid, 0.4)
        except TimeoutError:
            break
        if "ADVISORY.API" not in m.subject:
            seen.append("%s %s" % (m.subject, m.data.decode()))
    for line in sorted(seen):
        r.say(line)


def unserved(r):
    """What is known and not served: our own text."""
    r.stream("S", allow_direct=True)
    for what in ("META.LEADER.STEPDOWN", "SERVER.REMOVE", "NO.SUCH.REQUEST"):
        r.api(what)
    for body in ({"batch": 3, "seq": 1}, {"multi_last": ["s.>"]}, {"seq": 1, "start_time": "2020-01-01T00:00:00Z"}):
        r.api("DIRECT.GET.S", body)
    r.consumer("S", "c")
    for level in ("0", "4", "5", "x"):
        for what in ("INFO", "CONSUMER.MSG.NEXT.S.c", "DIRECT.GET.S", "DIRECT.GET.S.s.a"):
            m = r.try_request(API + what, b'{"no_wait":true}' if "NEXT" in what else b"", {"Nats-Required-Api-Level": level})
            r.say(what, level, m.hdr[:60], "10185" in m.data.decode())
    r.api("STREAM.DELETE.S", quiet=True)


def brief(r, what):
    """The numbers of a stream or consumer."""
    a = r.api(what, quiet=True)
    if "error" in a:
        r.say(what, a["error"]["description"])
    elif "state" in a:
        st = a["state"]
        r.say(what, [st.get(k, 0) for k in ("messages", "bytes", "first_seq", "last_seq", "num_subjects", "num_deleted",
                                            "consumer_count")])
    else:
        d, f = a["delivered"], a["ack_floor"]
        r.say(what, "delivered %d/%d floor %d/%d" % (d["consumer_seq"], d["stream_seq"], f["consumer_seq"], f["stream_seq"]),
              [a[k] for k in ("num_ack_pending", "num_redelivered", "num_waiting", "num_pending")])


def take(r, stream, consumer, n, body=b""):
    """Pulls n messages and answers each with `body` (None: not at all). Shows what came."""
    inbox, sid = r.c.new_inbox()
    r.c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer), '{"batch":%d,"no_wait":true}' % n, inbox)
    got = []
    while len(got) < n:
        m = r.c.next(sid, 2)
        if m.hdr.startswith(b"NATS/1.0 4"):
            got.append(m.hdr[9:12].decode())
            break
        f = m.reply.split(".")
        got.append("%s:%s/%s/%s" % (m.data.decode(), f[4], f[5], f[6]))
        if body is not None:
            r.c.request(m.reply, body, timeout=2)
    r.c.unsub(sid)
    r.say("take", stream, consumer, n, body, got)


def fill(r, stream, n, subjects=("a", "b", "c")):
    for i in range(n):
        a = r.c.request("%s.%s" % (stream.lower(), subjects[i % len(subjects)]), b"m%d" % i).json()
        assert "seq" in a, a


def retention(r):
    """What stays in a stream: limits, interest, work queue, deletes, purges."""
    for cfg in (dict(max_msgs=4), dict(max_msgs_per_subject=2), dict(max_bytes=150), dict(max_msgs=4, storage="memory"),
                dict(max_msgs_per_subject=1, storage="memory")):
        r.stream("R", **cfg)
        fill(r, "R", 10)
        r.say(cfg)
        brief(r, "STREAM.INFO.R")
        r.api("STREAM.UPDATE.R", {"name": "R", "subjects": ["r.>"], "max_msgs": 2, "storage": cfg.get("storage", "file")},
              quiet=True)
        brief(r, "STREAM.INFO.R")
        r.api("STREAM.DELETE.R", quiet=True)
    r.stream("R", max_age=300000000, duplicate_window=200000000)
    fill(r, "R", 3)
    r.drain(r.c.sub("nothing.comes"), 0.8)
    brief(r, "STREAM.INFO.R")
    r.api("STREAM.DELETE.R", quiet=True)
    for storage in ("file", "memory"):
        r.say("interest", storage)
        r.stream("R", retention="interest", storage=storage)
        fill(r, "R", 2)
        brief(r, "STREAM.INFO.R")
        r.consumer("R", "one", filter_subject="r.a")
        r.consumer("R", "two")
        fill(r, "R", 6)
        brief(r, "STREAM.INFO.R")
        take(r, "R", "one", 5)
        brief(r, "STREAM.INFO.R")
        take(r, "R", "two", 4)
        brief(r, "STREAM.INFO.R")
        r.api("CONSUMER.DELETE.R.two", quiet=True)
        brief(r, "STREAM.INFO.R")
        r.api("STREAM.DELETE.R", quiet=True)
        for consumers in ((), ("all",), ("b",), ("all", "b")):
            r.stream("R", storage=storage)
            fill(r, "R", 7)
            for name in consumers:
                r.consumer("R", name, filter_subject=None if name == "all" else "r.b")
                take(r, "R", name, 1 if name == "b" else 4)
            r.say("becomes interest", storage, consumers)
            r.api("STREAM.UPDATE.R", {"name": "R", "subjects": ["r.>"], "retention": "interest", "storage": storage}, quiet=True)
            brief(r, "STREAM.INFO.R")
            r.api("STREAM.DELETE.R", quiet=True)
        r.say("workqueue", storage)
        r.stream("R", retention="workqueue", storage=storage)
        fill(r, "R", 6)
        r.consumer("R", "one", filter_subject="r.a")
        r.consumer("R", "two", filter_subject="r.b")
        take(r, "R", "one", 5)
        take(r, "R", "two", 1, b"+TERM")
        take(r, "R", "two", 1, b"-NAK")
        brief(r, "STREAM.INFO.R")
        brief(r, "CONSUMER.INFO.R.two")
        r.api("STREAM.DELETE.R", quiet=True)
    r.stream("R")
    fill(r, "R", 12)
    r.consumer("R", "one")
    for what, body in (("STREAM.MSG.DELETE.R", {"seq": 3}), ("STREAM.MSG.DELETE.R", {"seq": 1}),
                       ("STREAM.MSG.DELETE.R", {"seq": 12}), ("STREAM.PURGE.R", {"filter": "r.b", "keep": 1}),
                       ("STREAM.PURGE.R", {"filter": "r.c", "seq": 7}), ("STREAM.PURGE.R", {"seq": 5}),
                       ("STREAM.PURGE.R", {"keep": 2}), ("STREAM.PURGE.R", "")):
        a = r.api(what, body, quiet=True)
        r.say(what, body, a.get("purged"), a.get("success"))
        brief(r, "STREAM.INFO.R")
        brief(r, "CONSUMER.INFO.R.one")
    fill(r, "R", 2)
    take(r, "R", "one", 5)
    r.pub("r.a", "x", {"Nats-Expected-Last-Sequence": "14"})
    r.api("STREAM.DELETE.R", quiet=True)
    r.stream("R", first_seq=100)
    fill(r, "R", 2)
    brief(r, "STREAM.INFO.R")
    r.api("STREAM.DELETE.R", quiet=True)


def delivery(r):
    """Where consumers start, what they skip, how they redeliver, what their numbers say."""
    r.stream("R")
    fill(r, "R", 9)
    mid = r.api("STREAM.MSG.GET.R", {"seq": 5}, quiet=True)["message"]["time"]
    for i, cfg in enumerate((dict(), dict(deliver_policy="last"), dict(deliver_policy="new"),
                             dict(deliver_policy="by_start_sequence", opt_start_seq=4),
                             dict(deliver_policy="by_start_sequence", opt_start_seq=40),
                             dict(deliver_policy="by_start_time", opt_start_time=mid),
                             dict(deliver_policy="last_per_subject", filter_subject="r.>"),
                             dict(deliver_policy="last", filter_subject="r.b"),
                             dict(filter_subjects=["r.a", "r.c"]), dict(filter_subject="r.nothing"))):
        name = "d%d" % i
        r.consumer("R", name, **cfg)
        cfg.pop("opt_start_time", None)
        r.say(name, cfg)
        brief(r, "CONSUMER.INFO.R." + name)
        take(r, "R", name, 3, None)
        brief(r, "CONSUMER.INFO.R." + name)
    r.pub("r.b", "more")
    for i in (2, 6, 7, 9):
        take(r, "R", "d%d" % i, 9)
        brief(r, "CONSUMER.INFO.R.d%d" % i)
    r.consumer("R", "w", ack_wait=150000000, max_deliver=3, max_ack_pending=4)
    take(r, "R", "w", 4, None)
    brief(r, "CONSUMER.INFO.R.w")
    r.drain(r.c.sub("nothing.comes"), 0.3)
    take(r, "R", "w", 2, b"")
    brief(r, "CONSUMER.INFO.R.w")
    r.drain(r.c.sub("nothing.comes"), 0.3)
    take(r, "R", "w", 2, None)
    brief(r, "CONSUMER.INFO.R.w")
    r.consumer("R", "n")
    take(r, "R", "n", 3, b"-NAK")
    take(r, "R", "n", 3, b"")
    brief(r, "CONSUMER.INFO.R.n")
    take(r, "R", "n", 3, b"+TERM")
    brief(r, "CONSUMER.INFO.R.n")
    r.consumer("R", "all", ack_policy="all")
    take(r, "R", "all", 4, None)
    brief(r, "CONSUMER.INFO.R.all")
    take(r, "R", "all", 1, b"")
    brief(r, "CONSUMER.INFO.R.all")
    r.consumer("R", "none", ack_policy="none")
    take(r, "R", "none", 4, None)
    brief(r, "CONSUMER.INFO.R.none")
    r.consumer("R", "back", backoff=[100000000, 5000000000], max_deliver=4)
    take(r, "R", "back", 2, None)
    r.drain(r.c.sub("nothing.comes"), 0.3)
    take(r, "R", "back", 2, None)
    brief(r, "CONSUMER.INFO.R.back")
    # what a consumer has not seen yet goes away
    r.consumer("R", "gone", filter_subject="r.c")
    take(r, "R", "gone", 1, None)
    r.api("STREAM.PURGE.R", {"filter": "r.c"}, quiet=True)
    brief(r, "CONSUMER.INFO.R.gone")
    take(r, "R", "gone", 2, None)
    r.api("STREAM.DELETE.R", quiet=True)


ALL = [basics, retention, delivery, streams, consumers, publish, pull, acks, push, advisories, unserved] + scenarios_pub.ALL + scenarios_parity.ALL


def compare(name, lines):
    path = os.path.join(HERE, "js", name + ".txt")
    with open(path) as f:
        want = f.read().splitlines()
    diff = list(difflib.unified_diff(want, lines, "kept", "now", lineterm="", n=1))
    for line in diff[:60]:
        print("   ", line[:400])
    return not diff


def main():
    args = sys.argv[1:]
    record = "--record" in args
    at = args[args.index("--at") + 1] if "--at" in args else None
    names = [a for a in args if not a.startswith("--") and a != at]
    srv = None if at else server.Server()
    host, port = ("127.0.0.1", srv.port) if srv else (at.rsplit(":", 1)[0], int(at.rsplit(":", 1)[1]))
    failed = 0
    try:
        for fn in ALL:
            if names and fn.__name__ not in names:
                continue
            r = Run(host, port)
            fn(r)
            r.c.close()
            if record:
                with open(os.path.join(HERE, "js", fn.__name__ + ".txt"), "w") as f:
                    f.write("\n".join(r.lines) + "\n")
                print("kept", fn.__name__, len(r.lines), "lines")
                continue
            ok = compare(fn.__name__, r.lines)
            failed += 0 if ok else 1
            print("ok  " if ok else "FAIL", fn.__name__)
    finally:
        if srv:
            srv.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

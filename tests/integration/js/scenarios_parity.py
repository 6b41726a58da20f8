"""Scenarios of js_transcript.py in which ours once differed from nats-server: limits, rollup and purge; API subjects nobody
serves; all fields of a stream's config; direct get; info and lists; limits of accounts. Recorded at nats-server 2.14.5.

Each case has a stream of its own name: a nats-server that deletes a file stream still holds its messages for a moment, and gives
them to the next one of that name."""
import itertools
import json


class Case:
    """A stream of one case, and what becomes of it in one line."""

    made = 0

    def __init__(self, r, **cfg):
        Case.made += 1
        self.r, self.name, self.cfg = r, "P%03d" % Case.made, cfg
        self.subject = self.name.lower()
        self.answer = r.api("STREAM.CREATE." + self.name, self.body(), quiet=True)

    def body(self, **more):
        out = {"name": self.name, "subjects": [self.subject + ".>"]}
        out.update(self.cfg)
        out.update(more)
        return out

    def update(self, **more):
        self.cfg.update(more)
        a = self.r.api("STREAM.UPDATE." + self.name, self.body(), quiet=True)
        return a.get("error", {}).get("description", "updated")

    def pub(self, subject, data="x", **hdr):
        a = self.r.c.request("%s.%s" % (self.subject, subject), data, {k.replace("_", "-"): v for k, v in hdr.items()})
        a = a.json()
        return a["error"]["description"] if "error" in a else a["seq"]

    def state(self):
        st = self.r.api("STREAM.INFO." + self.name, quiet=True)["state"]
        return [st.get(k, 0) for k in ("messages", "bytes", "first_seq", "last_seq", "num_subjects", "num_deleted")]

    def end(self):
        self.r.api("STREAM.DELETE." + self.name, quiet=True)


def limits(r):
    """Discard new, rollup, limits per subject, and their order; updates of limits; what a purge leaves."""
    Case.made = 0
    for storage, per, (mm, mps), init in itertools.product(
            ("memory", "file"), (False, True), ((1, 1), (3, 3), (3, 2), (2, 3), (2, 1)), ("a", "aaa", "abab", "aab", "bb")):
        for rollup in ("sub", "all"):
            c = Case(r, storage=storage, discard="new", allow_rollup_hdrs=True, max_msgs=mm, max_msgs_per_subject=mps,
                     discard_new_per_subject=per)
            for s in init:
                c.pub(s)
            r.say(storage, per, mm, mps, init, rollup, c.pub("a", "r", Nats_Rollup=rollup), c.state(), c.pub("a"), c.state())
            c.end()
    for storage, mps, per in itertools.product(("memory", "file"), (1, 2), (False, True)):
        for most in (86, 85, 87, 58, 57, 59, 43, 42, 44, 29, 28, 30):
            c = Case(r, storage=storage, discard="new", max_bytes=most + 2 * 3, max_msgs_per_subject=mps,
                     discard_new_per_subject=per)
            got = [c.pub(s, "x" * n) for s, n in (("a", 10), ("a", 10), ("a", 9), ("a", 10), ("a", 11), ("a", 12), ("b", 10),
                                                  ("b", 9), ("b", 10), ("a", 20), ("a", 5), ("a", 6))]
            r.say(storage, mps, per, most, [g if isinstance(g, int) else g[:11] for g in got], c.state())
            c.end()
    for storage, big in itertools.product(("memory", "file"), (0, 50, 100)):
        for cfg in ({"max_msgs": 2}, {"max_msgs_per_subject": 1}, {"max_bytes": 110}):
            c = Case(r, storage=storage, allow_rollup_hdrs=True, **cfg)
            for s in "abcab":
                c.pub(s, "x" * 10)
            r.say(storage, cfg, c.state(), c.pub("c", "x" * big, Nats_Rollup="sub"), c.state(),
                  c.pub("b", "x" * big, Nats_Rollup="sub"), c.state(), c.pub("b", "x" * big, Nats_Rollup="ALL"), c.state())
            c.end()
    for storage, cfg in itertools.product(("memory", "file"), ({"max_msgs": 2}, {"max_bytes": 80}, {"max_msgs_per_subject": 1})):
        c = Case(r, storage=storage, discard="new")
        for s in "abcab":
            c.pub(s)
        r.say(storage, cfg, c.update(**cfg), c.state(), c.pub("a"), c.state(), c.update(discard="old"), c.state(), c.pub("z"),
              c.state())
        c.end()
    for storage in ("memory", "file"):
        for body in ({"seq": 20}, {"seq": 4}, {"seq": 3}, {"seq": 1}, {"seq": 20, "filter": ">"}, {"seq": 20, "filter": "a"},
                     {"keep": 10}, {"seq": 5, "keep": 3}):
            c = Case(r, storage=storage)
            for s in "aba":
                c.pub(s)
            r.consumer(c.name, "c")
            a = r.api("STREAM.PURGE." + c.name, body, quiet=True)
            i = r.api("CONSUMER.INFO.%s.c" % c.name, quiet=True)
            r.say(storage, body, a.get("purged"), a.get("error"), c.state(), i["delivered"], i["ack_floor"], i["num_pending"],
                  c.pub("a"), c.state())
            c.end()
        c = Case(r, storage=storage)
        r.api("STREAM.PURGE." + c.name, {"seq": 20}, quiet=True)
        r.say("empty", c.state(), c.pub("a"), c.state())
        c.end()
    for hdr in ({"Nats-Rollup": "Sub"}, {"Nats-Rollup": "x"}):
        for allow in (True, False):
            c = Case(r, allow_rollup_hdrs=allow, max_msg_size=300)
            c.pub("a", Nats_Msg_Id="m")
            for more in ({}, {"Nats-Msg-Id": "n"}, {"Nats-Expected-Last-Sequence": "9"}, {"Nats-Expected-Last-Msg-Id": "q"}):
                if hdr["Nats-Rollup"] != "x" or not more:
                    r.say(allow, hdr, more, c.pub("a", "x", **hdr, **more))
            c.end()
    c = Case(r, max_msg_size=100)
    c.pub("a", Nats_Msg_Id="m")
    for hdr in ({"Nats-Msg-Id": "m"}, {"Nats-Expected-Last-Sequence": "9"}, {"Nats-Expected-Last-Msg-Id": "q"}):
        for size in (1, 200):
            r.say(hdr, size, c.pub("a", "x" * size, **hdr))
    r.say("both", c.pub("a", "x", Nats_Msg_Id="m", Nats_Expected_Last_Sequence="77"))
    c.end()


def silence(r):
    """Subjects under $JS.API that nobody serves, and requests without a sequence."""
    r.stream("P")
    r.consumer("P", "c")
    for what in ("NO.SUCH", "STREAM.CREATE", "STREAM.INFO.P.x", "CONSUMER.INFO.P", "STREAM.TEMPLATE.NAMES", "INFO.x"):
        r.show(what, r.try_request("$JS.API." + what, timeout=0.3))
    for subject in ("$JS.API.CONSUMER.MSG.NEXT.P", "$JS.API.CONSUMER.MSG.NEXT.P.nope", "$JS.API.DIRECT.GET.P",
                    "$JS.API.DIRECT.GET.P.p.a", "$JS.API.DIRECT.GET.ZZZ", "$JS.API", "$JS.ACK.P", "$JS.ACK.P.c.x", "$JS.XX"):
        r.show(subject, r.try_request(subject))
    for body in ({}, {"seq": 0}, "", "x", "[]", {"foo": 1}, {"seq": -1}, {"seq": "1"}):
        r.api("STREAM.MSG.DELETE.P", body)
        r.api("STREAM.MSG.DELETE.NOPE", body)
        r.api("STREAM.MSG.GET.P", body)
    r.api("STREAM.DELETE.P", quiet=True)


def shown(cfg):
    """A config without what stands in all of them."""
    usual = {"max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1,
             "retention": "limits", "discard": "old", "storage": "file", "num_replicas": 1, "duplicate_window": 120000000000,
             "compression": "none", "consumer_limits": {}}
    return {k: v for k, v in cfg.items() if v is not False and usual.get(k) != v and k not in ("name", "subjects", "metadata")}


def verdict(a):
    return a["error"]["description"] if "error" in a else shown(a["config"])


TRANSFORMS = [{}, {"src": "s.>", "dest": "t.>"}, {"src": "", "dest": "t.>"}, {"src": "s.*", "dest": "t.{{wildcard(2)}}"},
              {"src": "s.>", "dest": "t"}, {"src": "s.a", "dest": "t.*"}, {"src": "s.*", "dest": "t.>"}, {"src": "s..", "dest": "t"},
              {"src": "s.*", "dest": "t.."}, {"src": "s.*", "dest": "s.*"}, {"src": "s.*", "dest": "t.$2"},
              {"src": "s.*", "dest": "t.{{partition()}}"}, {"src": "s.*", "dest": "t.{{foo(1)}}"}, {"dest": "x"},
              {"src": "s.>", "dest": "t.{{partition(5,1)}}.>"}, {"foo": 1}, "x", {"src": "s.*", "dest": "t"}]
REPUBLISH = [{}, {"src": ">", "dest": "t.>"}, {"src": "s.>", "dest": "s.x.>"}, {"dest": "t.>"}, {"src": ">"},
             {"src": "s.*", "dest": "t.*"}, {"src": "q.>", "dest": "t.>"}, {"src": "s..", "dest": "t"},
             {"src": "s.>", "dest": "t.>", "headers_only": True}, {"src": "s.*", "dest": "t.{{bad(1)}}"}, "x",
             {"src": "s.*", "dest": ">"}]
PLACEMENT = [{}, {"cluster": "x"}, {"tags": ["a"]}, {"cluster": "", "tags": []}, {"cluster": ""}, {"tags": []},
             {"tags": None}, {"preferred": ""}, {"preferred": "x"}, {"foo": 1}, {"cluster": 5}, None, "x"]


def config(r):
    """placement, subject_transform, republish, persist_mode; pedantic mode; what an update may change."""
    def make(**cfg):
        body = {"name": "S", "subjects": ["s.>"], "storage": "memory"}
        body.update(cfg)
        r.say(json.dumps(cfg), verdict(r.api("STREAM.CREATE.S", body, quiet=True)))
        r.api("STREAM.DELETE.S", quiet=True)

    for key, values in (("placement", PLACEMENT), ("subject_transform", TRANSFORMS), ("republish", REPUBLISH)):
        for v in values:
            make(**{key: v})
    make(persist_mode="async")
    make(persist_mode="async", storage="file")
    make(persist_mode="async", storage="file", num_replicas=3)
    make(pedantic=True, republish={"dest": "x.>"})
    make(pedantic=True, max_age=10 ** 10, duplicate_window=2 * 10 ** 10)
    for key in ("max_msgs", "max_bytes", "max_consumers", "max_msgs_per_subject", "max_msg_size"):
        make(pedantic=True, **{key: -1})
        make(pedantic=True, **{key: -2})
    make(pedantic=True, max_msgs=-2, max_bytes=-2)
    make(consumer_limits={"foo": 1})
    make(consumer_limits={"max_ack_pending": -1})

    def update(cfg, change, before=None):
        body = {"name": "U", "subjects": ["u.>"], "storage": "memory"}
        body.update(cfg)
        r.api("STREAM.CREATE.U", body, quiet=True)
        if before:
            before()
        body.update(change)
        a = r.api("STREAM.UPDATE.U", {k: v for k, v in body.items() if v != "absent"}, quiet=True)
        r.say("update", json.dumps(cfg), json.dumps(change), verdict(a))
        r.api("STREAM.DELETE.U", quiet=True)

    t, rp, lim = {"src": "u.*", "dest": "t.{{wildcard(1)}}"}, {"src": ">", "dest": "r.>"}, {"max_ack_pending": 5}
    for cfg, change in (({}, {"subject_transform": t}), ({"subject_transform": t}, {"subject_transform": "absent"}),
                        ({}, {"subject_transform": {"src": "u.*", "dest": "t.*"}}), ({}, {"republish": rp}),
                        ({"republish": rp}, {"republish": "absent"}), ({}, {"republish": {"src": ">", "dest": "u.x.>"}}),
                        ({"placement": {"tags": ["a"]}}, {"placement": "absent"}), ({}, {"compression": "s2"}),
                        ({"first_seq": 10}, {"first_seq": 20}), ({"max_consumers": 5}, {"max_consumers": 3}),
                        ({"consumer_limits": lim}, {"consumer_limits": "absent"}), ({}, {"mirror_direct": True}),
                        ({}, {"allow_rollup_hdrs": True, "deny_purge": True}), ({}, {"sealed": True, "max_age": 10 ** 9}),
                        ({"retention": "interest"}, {"retention": "limits"}), ({}, {"retention": "interest"}),
                        ({}, {"discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 2}),
                        ({}, {"metadata": {"a": "b"}}), ({}, {"foo": 1})):
        update(cfg, change)
    update({}, {"consumer_limits": lim}, lambda: r.consumer("U", "c", max_ack_pending=100))
    update({}, {"consumer_limits": {"inactive_threshold": 10 ** 9}}, lambda: r.consumer("U", "c", inactive_threshold=10 ** 10))
    update({}, {"max_consumers": 1}, lambda: (r.consumer("U", "c"), r.consumer("U", "d")))


def subjects(r):
    """Messages on their way in and out: subject_transform, republish."""
    def st(**cfg):
        r.api("STREAM.DELETE.S", quiet=True)
        body = {"name": "S", "subjects": ["s.>"], "storage": "memory"}
        body.update(cfg)
        return r.api("STREAM.CREATE.S", body, quiet=True)

    def kept():
        return r.api("STREAM.INFO.S", {"subjects_filter": ">"}, quiet=True)["state"].get("subjects")

    for src, dest in (("s.*", "t.{{wildcard(1)}}"), ("s.>", "t.>"), ("", "x.>"), ("s.*.*", "z.$2.$1"),
                      ("s.*", "t.{{partition(10,1)}}"), ("s.*.*", "t.{{partition(5,1,2)}}.{{partition(7,2)}}"),
                      ("s.*", "t.{{split(1,-)}}"), ("s.*", "t.{{SliceFromRight(1,2)}}"), ("s.*.>", "t.$1.>"), ("s.*", "t")):
        st(subject_transform={"src": src, "dest": dest})
        for s in ("s.a", "s.abcdef", "s.a-b-cd", "s.x.y", "s.abc"):
            r.c.request(s, "x")
        r.say(src, dest, kept())
    st(subject_transform={"src": "s.*", "dest": "t.$1"}, max_msgs_per_subject=1)
    for s, hdr in (("s.a", {"Nats-Expected-Last-Subject-Sequence": "0"}), ("s.a", {"Nats-Expected-Last-Subject-Sequence": "0"}),
                   ("s.a", {"Nats-Expected-Last-Subject-Sequence": "1"}),
                   ("s.b", {"Nats-Expected-Last-Subject-Sequence": "2", "Nats-Expected-Last-Subject-Sequence-Subject": "t.a"}),
                   ("s.b", {"Nats-Expected-Last-Subject-Sequence": "2", "Nats-Expected-Last-Subject-Sequence-Subject": "s.a"})):
        r.pub(s, "x", hdr)
    r.say(kept())
    r.consumer("S", "c", filter_subject="t.a")
    r.pull("S", "c", {"batch": 2, "no_wait": True})
    r.api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"], "storage": "memory"}, quiet=True)
    r.pub("s.a")
    r.say(kept())
    r.api("STREAM.DELETE.S", quiet=True)
    Case.made = 600
    sid = r.c.sub("rp.>")
    for storage, rp in itertools.product(("memory", "file"), (
            {"src": ">", "dest": "rp.>"}, {"src": "s.a", "dest": "rp.one"}, {"src": "s.*", "dest": "rp.{{wildcard(1)}}.x"},
            {"src": ">", "dest": "rp.>", "headers_only": True}, {"src": "t.>", "dest": "rp.>"})):
        for change in (None, {"src": "s.>", "dest": "t.>"}):
            c = Case(r, storage=storage, subjects=["s.>"], republish=rp, allow_rollup_hdrs=True, max_msgs_per_subject=1,
                     **({"subject_transform": change} if change else {}))
            r.say(storage, rp, change)
            r.c.request("s.a", "one")
            r.c.request("s.b", "two", {"A": "b"})
            for _ in range(2):
                r.c.request("s.a", "three", {"Nats-Msg-Id": "m", "B": "c"})
            r.c.request("s.b.c")
            r.c.request("s.a", "x", {"Nats-Rollup": "all"})
            r.c.request("s.a", "z", {"Nats-Sequence": "99", "Nats-Stream": "foo"})
            r.drain(sid, 0.1)
            c.end()
    rp = {"src": ">", "dest": "rp.>"}
    for cfg in ({"no_ack": True}, {"max_msg_size": 3}, {"retention": "interest"}, {"max_bytes": 10}):
        c = Case(r, storage="memory", subjects=["s.>"], republish=rp, **cfg)
        r.say(cfg)
        r.c.pub("s.a", "xxxx")
        r.c.pub("s.a", "xxx")
        r.drain(sid, 0.2)
        c.end()
    c = Case(r, storage="memory", subjects=["s.>"], republish=rp)
    other = Case(r, storage="memory", subjects=["rp.>"], subject_transform={"src": "rp.>", "dest": "again.>"})
    r.c.request("s.a", "hello")
    r.drain(sid, 0.1)
    r.say(r.api("STREAM.MSG.GET." + other.name, {"seq": 1}, quiet=True)["message"]["subject"])
    c.end()
    other.end()


DIRECT = [
    {"seq": 1}, {"seq": 3}, {"seq": 0}, {}, "", "{", "x", {"seq": 100}, {"last_by_subj": "S.a"}, {"last_by_subj": "S.zz"},
    {"last_by_subj": "S.*"}, {"last_by_subj": ">"}, {"last_by_subj": "a..b"}, {"next_by_subj": "S.b"},
    {"next_by_subj": "S.b", "seq": 6}, {"next_by_subj": "S.*", "seq": 3}, {"next_by_subj": ">", "seq": 13},
    {"seq": 1, "last_by_subj": "S.a"}, {"last_by_subj": "S.a", "next_by_subj": "S.b"}, {"seq": 1, "no_hdr": True}, {"foo": 1},
    {"seq": "1"}, {"batch": 3}, {"batch": 3, "seq": 1}, {"batch": 3, "seq": 3}, {"batch": 30, "seq": 10},
    {"batch": 3, "seq": 100}, {"batch": 3, "next_by_subj": "S.a"}, {"batch": 3, "next_by_subj": "S.a", "seq": 5},
    {"batch": 3, "next_by_subj": "zz"}, {"batch": 2, "last_by_subj": "S.a"}, {"batch": 0, "seq": 1}, {"batch": -1, "seq": 1},
    {"batch": 1, "seq": 1}, {"batch": 3, "seq": 1, "no_hdr": True}, {"batch": 5, "seq": 1, "max_bytes": 60},
    {"batch": 5, "seq": 1, "max_bytes": 1}, {"batch": 5, "seq": 1, "max_bytes": -1}, {"seq": 1, "max_bytes": 10},
    {"max_bytes": 100}, {"multi_last": ["S.a"]}, {"multi_last": ["S.a", "S.b"]}, {"multi_last": ["S.>"]},
    {"multi_last": ["S.a", "S.*"]}, {"multi_last": ["zz"]}, {"multi_last": []}, {"multi_last": [""]},
    {"multi_last": ["S.>"], "batch": 2}, {"multi_last": ["S.>"], "up_to_seq": 7}, {"multi_last": ["S.>"], "up_to_seq": 2},
    {"multi_last": ["S.>"], "up_to_seq": 1000}, {"multi_last": ["S.>"], "seq": 11}, {"multi_last": ["S.>"], "batch": 2, "seq": 11},
    {"multi_last": ["S.>"], "max_bytes": 5}, {"multi_last": ["S.>"], "last_by_subj": "S.a"}, {"multi_last": ["a..b"]},
    {"multi_last": ["S.>"], "seq": 1000}, {"batch": -1, "seq": 1000}, {"batch": -1, "start_time": "2040-01-01T00:00:00Z"},
    {"up_to_seq": 5}, {"seq": 1, "up_to_seq": 5, "batch": 10}, {"multi_last": ["S.>"], "no_hdr": True},
    {"multi_last": ["S.>"], "batch": 1, "up_to_seq": 8, "seq": 7}, {"start_time": "T6"}, {"start_time": "T6", "batch": 2},
    {"start_time": "T6", "seq": 2, "batch": 2}, {"start_time": "T6", "next_by_subj": "S.a", "batch": 2},
    {"start_time": "T6", "next_by_subj": "S.a"}, {"start_time": "T6", "last_by_subj": "S.a"},
    {"start_time": "2001-01-01T00:00:00Z", "batch": 2}, {"start_time": "2101-01-01T00:00:00Z", "batch": 2},
    {"start_time": "2101-01-01T00:00:00Z"}, {"multi_last": ["S.>"], "up_to_time": "T6"},
    {"multi_last": ["S.>"], "up_to_time": "2101-01-01T00:00:00Z"}, {"multi_last": ["S.>"], "up_to_time": "2001-01-01T00:00:00Z"},
    {"multi_last": ["S.>"], "up_to_time": "T6", "up_to_seq": 5}, {"multi_last": ["S.>"], "start_time": "T6"},
    {"start_time": "x", "batch": 2}]


def direct(r):
    """Direct get whole (ADR-31): by sequence, subject, time; batches, last of several subjects."""
    for storage in ("file", "memory"):
        name, s = "D" + storage[0], "d" + storage[0]
        r.api("STREAM.CREATE." + name, {"name": name, "subjects": [s + ".>"], "storage": storage, "allow_direct": True}, quiet=True)
        for i in range(12):
            r.c.request("%s.%s" % (s, "abc"[i % 3]), "m%d" % i, {"A": "b"} if i % 4 == 0 else None)
        t6 = r.api("STREAM.MSG.GET." + name, {"seq": 6}, quiet=True)["message"]["time"]
        r.api("STREAM.MSG.DELETE." + name, {"seq": 3}, quiet=True)

        def get(body, suffix=""):
            text = (json.dumps(body) if isinstance(body, dict) else body).replace("S.", s + ".").replace("T6", t6)
            inbox, sid = r.c.new_inbox()
            r.c.pub("$JS.API.DIRECT.GET." + name + suffix, text, inbox)
            r.say("get", suffix, text)
            while True:
                m = r.c.next(sid, 2)
                r.show("   ", m)
                code = m.status()
                more = '"batch"' in text and '"batch": 0' not in text or '"multi_last": ["' in text
                if not more or code is not None:
                    break
            r.c.unsub(sid)

        for body in DIRECT:
            get(body)
        for suffix, body in ((".S.a", ""), (".S.zz", ""), (".S.a", "x"), (".S.a", {"seq": 1}), (".S.*", ""), (".S.a", "{}"),
                             (".S.a", {"batch": 2})):
            get(body, suffix.replace("S.", s + "."))
        for i in range(1030):
            r.c.pub("%s.k.%d" % (s, i), "x")
        r.c.request("%s.k.0" % s, "x")
        get({"multi_last": ["S.k.*"]})
        get({"multi_last": ["S.k.*"], "batch": 2})
        get({"batch": 200, "seq": 1, "next_by_subj": "S.k.*"})
        for body in ({"batch": 3, "seq": 1}, {"multi_last": ["S.a"]}, {"seq": 1, "up_to_seq": 4}, {"seq": 1, "max_bytes": 4}):
            r.api("STREAM.MSG.GET." + name, body)
        r.api("STREAM.PURGE." + name, quiet=True)
        for body in ({"batch": 3, "seq": 1}, {"multi_last": ["S.a"]}, {"batch": 3, "next_by_subj": "S.a"}, {"last_by_subj": ">"}):
            get(body)
        r.api("STREAM.DELETE." + name, quiet=True)


ALL = [limits, silence, config, subjects, direct]

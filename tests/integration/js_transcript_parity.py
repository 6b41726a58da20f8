"""Scenarios of js_transcript.py in which ours once differed from nats-server: limits, rollup and purge; API subjects nobody
serves; all fields of a stream's config; direct get; info and lists; limits of accounts. Recorded at nats-server 2.14.5.

Each case has a stream of its own name: a nats-server that deletes a file stream still holds its messages for a moment, and gives
them to the next one of that name."""
import itertools



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


ALL = [limits, silence]

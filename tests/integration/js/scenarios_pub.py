"""Scenarios of js_transcript.py: what a publish can ask for (ADR-43, 49, 50, 51)."""
import base64


def cfg_line(r, answer, label):
    """An error, or the members that these features touch."""
    if "error" in answer:
        e = answer["error"]
        r.say(label, "-> %d %d %s" % (e["code"], e["err_code"], e["description"]))
        return
    keys = ("allow_rollup_hdrs", "deny_purge", "allow_msg_ttl", "subject_delete_marker_ttl", "allow_msg_counter",
            "allow_atomic", "allow_msg_schedules", "allow_batched")
    r.say(label, "-> ok", " ".join("%s=%s" % (k, answer["config"][k]) for k in keys if k in answer["config"]))


def config(r, op, name, **cfg):
    body = {"name": name, "subjects": [name.lower() + ".>"]}
    body.update(cfg)
    cfg_line(r, r.api("STREAM.%s.%s" % (op, name), body, quiet=True), "%s %s" % (op, cfg))


def stored(r, stream, seq):
    a = r.api("STREAM.MSG.GET." + stream, {"seq": seq}, quiet=True)
    if "error" in a:
        r.say("get", seq, "->", a["error"]["err_code"], a["error"]["description"])
        return
    m = a["message"]
    r.say("get", seq, "->", m["subject"], base64.b64decode(m.get("hdrs", "")), base64.b64decode(m.get("data", "")))


def ttl_config(r):
    s = 1000000000
    for cfg in ({"subject_delete_marker_ttl": s - 1}, {"subject_delete_marker_ttl": -5},
                {"subject_delete_marker_ttl": s, "pedantic": True},
                {"subject_delete_marker_ttl": s, "pedantic": True, "allow_msg_ttl": True},
                {"subject_delete_marker_ttl": s, "pedantic": True, "allow_msg_ttl": True, "allow_rollup_hdrs": True},
                {"subject_delete_marker_ttl": s, "allow_rollup_hdrs": True, "deny_purge": True},
                {"subject_delete_marker_ttl": s, "allow_rollup_hdrs": True, "deny_purge": True, "pedantic": True},
                {"subject_delete_marker_ttl": s, "deny_purge": True}, {"subject_delete_marker_ttl": s * 3 // 2}):
        config(r, "CREATE", "E", **cfg)
        r.api("STREAM.DELETE.E", quiet=True)
    config(r, "CREATE", "E")
    for cfg in ({"allow_msg_ttl": True}, {}, {"allow_msg_ttl": True, "subject_delete_marker_ttl": 2 * s},
                {"allow_msg_ttl": True, "allow_rollup_hdrs": True}, {"allow_msg_ttl": True, "deny_purge": True},
                {"allow_msg_ttl": True, "deny_purge": True, "subject_delete_marker_ttl": 2 * s}):
        config(r, "UPDATE", "E", **cfg)
    r.api("STREAM.DELETE.E", quiet=True)


def ttl(r):
    """Nats-TTL: which values are taken, what is stored, what goes when, and which markers are left."""
    ttl_config(r)
    r.stream("A")
    for v in ("0", "1", "999ms", "x", "never"):
        r.pub("a.x", hdr={"Nats-TTL": v})
    r.stream("B", allow_msg_ttl=True)
    for v in ("0", "1", "1s", "999ms", "1.5s", "never", "NEVER", "Never", "x", "-1", "-1s", "1h30m", "9223372036", "0s",
              "+5", "1d", "5 ", "+5s", ".5m", "1.s", "2000000us", "1e9", "2h45m30.5s", "1h 30m"):
        r.pub("b.x", hdr={"Nats-TTL": v})
    r.stream("C", allow_msg_ttl=True, subject_delete_marker_ttl=5500000000)
    for i, v in enumerate(("1", "7", "3s", "never", "6s")):
        r.pub("c.x", hdr={"Nats-TTL": v, "Foo": "bar"})
        stored(r, "C", i + 1)
    # one message of each subject: the last one of a subject leaves a marker, once
    r.stream("G", allow_msg_ttl=True, subject_delete_marker_ttl=1000000000, max_msgs_per_subject=1)
    r.consumer("G", "w", durable_name=None, ack_policy="none", deliver_subject="watch")
    r.stream("L", allow_msg_ttl=True, subject_delete_marker_ttl=1000000000)
    r.stream("K", allow_msg_ttl=True, max_age=1000000000)
    r.stream("I", allow_msg_ttl=True, retention="interest", subject_delete_marker_ttl=1000000000)
    sid = r.c.sub("watch")
    for i, h in enumerate(({}, {"KV-Operation": "PURGE"}, {"Nats-Marker-Reason": "Foo"})):
        r.c.request("g.%d" % i, "x", dict(h, **{"Nats-TTL": "1"}))
    for subject, v in (("l.old", None), ("l.old", "1"), ("l.new", "1"), ("l.new", None)):
        r.c.request(subject, "x", {"Nats-TTL": v} if v else None)
    for v in ("never", "10", None):
        r.c.request("k.a", "x", {"Nats-TTL": v} if v else None)
    r.c.request("i.a", "x", {"Nats-TTL": "1"})
    r.drain(sid, 2.4, 4)
    r.drain(sid, 0.4, 1)
    for seq in (1, 2, 3, 4):
        stored(r, "G", seq)
        stored(r, "L", seq)
        stored(r, "K", seq)
    # the marker itself goes and leaves none
    r.drain(sid, 1.3, 1)
    for seq in (4, 5):
        stored(r, "G", seq)
    for name in "ABCGLKI":
        r.api("STREAM.DELETE." + name, quiet=True)


def batch(r, ident, seq, subject="b.x", commit=None, data="d", **headers):
    h = {"Nats-Batch-Id": ident}
    if seq is not None:
        h["Nats-Batch-Sequence"] = str(seq)
    if commit:
        h["Nats-Batch-Commit"] = commit
    h.update({k.replace("_", "-"): v for k, v in headers.items()})
    m = r.try_request(subject, data, h)
    r.say("batch", " ".join("%s:%s" % kv for kv in h.items()), subject, "->",
          "nothing" if isinstance(m, Exception) else m.data.decode())


def small_batches(r, rows):
    """Rows of (id, [message, ...]); a message is (subject, headers). The last one commits."""
    for ident, msgs in rows:
        for i, (subject, h) in enumerate(msgs):
            batch(r, ident, i + 1, subject, "1" if i + 1 == len(msgs) else None, **h)


def atomic_rules(r):
    subj, seq, of = "Nats_Expected_Last_Subject_Sequence", "Nats_Expected_Last_Sequence", \
        "Nats_Expected_Last_Subject_Sequence_Subject"
    q, x = "b.q", "b.x"
    last = r.api("STREAM.INFO.B", quiet=True)["state"]["last_seq"]
    small_batches(r, [
        ("l", [(x, {"Nats_Expected_Last_Msg_Id": "x"}), (x, {})]),
        ("es", [(x, {"Nats_Expected_Stream": "Z"}), (x, {})]),
        ("e1", [(x, {seq: "99"}), (x, {})]),
        ("e2", [(x, {seq: str(last)}), (x, {})]),
        ("e3", [(x, {}), (x, {seq: "5"}), (x, {})]),
        ("e4", [(x, {}), (x, {seq: str(last + 3)}), (x, {})]),
        ("f1", [(q, {subj: "0"}), ("b.q2", {subj: "0"})]),
        ("f2", [(q, {}), (q, {subj: "10"})]),
        ("f3", [(q, {subj: "0"}), (x, {})]),
        ("f4", [(q, {subj: "0", of: "b.zz"}), ("b.zz", {})]),
        ("f5", [("b.zy", {}), (q, {subj: "0", of: "b.zy"})]),
        ("f6", [("b.zy", {of: "b.zy"}), (x, {})]),
        ("d1", [(x, {"Nats_Msg_Id": "m1"}), (x, {"Nats_Msg_Id": "m1"})]),
        ("d2", [(x, {"Nats_Msg_Id": "m2"}), (x, {"Nats_Msg_Id": "m3"})]),
        ("d3", [(x, {"Nats_Msg_Id": "m2"}), (x, {})]),
        ("d4", [(x, {}), (x, {"Nats_Msg_Id": "m3"})]),
        ("ro", [(x, {"Nats_Rollup": "sub"}), (x, {})]),
        ("t1", [(x, {"Nats_TTL": "5"}), (x, {})])])
    r.stream("R", allow_atomic=True, allow_rollup_hdrs=True, allow_msg_ttl=True)
    small_batches(r, [
        ("r1", [("r.a", {}), ("r.a", {"Nats_Rollup": "sub"})]),
        ("r2", [("r.b", {"Nats_Rollup": "all"}), ("r.c", {})]),
        ("r3", [("r.b", {}), ("r.c", {"Nats_Rollup": "all"})]),
        ("r4", [("r.b", {"Nats_Rollup": "bad"}), ("r.c", {})]),
        ("r5", [("r.b", {"Nats_TTL": "bad"}), ("r.c", {})]),
        ("r6", [("r.b", {"Nats_TTL": "100"}), ("r.c", {})]),
        ("r7", [("r.b", {"Nats_Incr": "1"}), ("r.c", {})])])
    for s in range(1, 5):
        stored(r, "R", s)
    for name, cfg in (("L", {"max_msgs": 2}), ("L", {"max_bytes": 250}),
                      ("L", {"max_msgs": 2, "max_msgs_per_subject": 1}),
                      ("L", {"max_msgs_per_subject": 1, "discard_new_per_subject": True})):
        r.stream(name, allow_atomic=True, discard="new", **cfg)
        r.say(cfg)
        small_batches(r, [("k1", [("l.a", {}), ("l.b", {}), ("l.c", {})]), ("k2", [("l.a", {}), ("l.a", {})]),
                          ("k3", [("l.a", {}), ("l.a", {})])])
        r.say(r.api("STREAM.INFO." + name, quiet=True)["state"]["messages"])
        r.api("STREAM.DELETE." + name, quiet=True)


def atomic(r):
    """Atomic batches (ADR-50): sequences, commits, what each message may ask for, limits, advisories."""
    config(r, "CREATE", "A", allow_atomic=True, persist_mode="async")
    config(r, "CREATE", "A")
    batch(r, "x", 1, "a.x")
    config(r, "UPDATE", "A", allow_atomic=True)
    config(r, "UPDATE", "A")
    config(r, "CREATE", "B", allow_atomic=True)
    adv = r.c.sub("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>")
    for step in (("i1", 1), ("i1", 2), ("i1", 3, "b.x", "1"), ("i2", 1, "b.y", "1"), ("i3", 1), ("i3", 2),
                 ("i3", 3, "b.x", "eob"), ("i4", 1, "b.x", "eob"), ("i5", 1), ("i5", 2, "b.x", "2"),
                 ("i5", 2, "b.x", "1"), ("i6", 1, "b.x", "x"), ("u", 2), ("u", 5, "b.x", "1"), ("g", 1), ("g", 3),
                 ("g", 2), ("h", 1), ("h", 3, "b.x", "1"), ("s", None), ("s", 0), ("s", "x"), ("s", "-1"), ("s", ""),
                 ("i" * 64, 1, "b.x", "1"), ("i" * 65, 1), ("", 1), ("sp ace", 1, "b.x", "1"), ("r", 1), ("r", 1),
                 ("r", 2, "b.x", "1"), ("big", 1), ("big", 1001), ("big", 2), ("big2", 1001),
                 ("big3", 1001, "b.x", "eob"), ("big4", 5000000000)):
        batch(r, *step)
    batch(r, "lv", 1)
    batch(r, "lv", 2, Nats_Required_Api_Level="99")
    batch(r, "lv", 3, commit="1")
    batch(r, "lw", 1)
    batch(r, "lw", 2, commit="x", Nats_Required_Api_Level="99")
    for seq in (0, 2, 1001):
        batch(r, "lx", seq, commit="x", Nats_Required_Api_Level="99")
        batch(r, "ly", seq, commit="eob")
    for seq in (3, 4, 6):
        stored(r, "B", seq)
    r.drain(adv, 0.3)
    atomic_rules(r)
    for i in range(1, 1000):
        r.c.pub("b.x", "1", hdr={"Nats-Batch-Id": "most", "Nats-Batch-Sequence": str(i)})
    batch(r, "most", 1000, commit="1")
    for i in range(50):
        r.c.pub("b.x", "1", hdr={"Nats-Batch-Id": "f%d" % i, "Nats-Batch-Sequence": "1"})
    batch(r, "f50", 1)
    batch(r, "f50", 1, commit="1")
    batch(r, "f3", 2, commit="1")
    batch(r, "f50", 1, commit="1")
    r.drain(adv, 0.3)
    for name in "ABR":
        r.api("STREAM.DELETE." + name, quiet=True)
    r.stream("Q", allow_atomic=True, no_ack=True)
    batch(r, "n", 1, "q.a")
    batch(r, "n", 2, "q.a", commit="1")
    r.say(r.api("STREAM.INFO.Q", quiet=True)["state"]["messages"])
    r.api("STREAM.DELETE.Q", quiet=True)


def settled(r, subject):
    """Returns when what was published is on disk and so answered, however long the disk takes."""
    r.api("STREAM.INFO." + subject[0].upper(), quiet=True)


def fast_step(r, sid, ident, seq, op, gap="ok", flow=10, subject="b.x", data="d", wait=0.15, **headers):
    reply = "FI.%s.%s.%s.%s.%s.$FI" % (ident, flow, gap, seq, op)
    r.c.pub(subject, data, reply, {k.replace("_", "-"): v for k, v in headers.items()} or None)
    r.say("fast", reply, headers or "")
    settled(r, subject)
    r.drain(sid, wait)


def fast(r):
    """Fast-ingest batches (ADR-50): patterns, gaps, errors, flow control, ends."""
    sid = r.c.sub("FI.>")
    wrong = {"Nats_Expected_Last_Sequence": "99999"}
    config(r, "CREATE", "A")
    fast_step(r, sid, "u", 1, 0, subject="a.x")
    config(r, "CREATE", "B", allow_batched=True)
    for ident, gap, steps in (
            ("u1", "ok", ((1, 0), (2, 1), (3, 1), (4, 2))), ("u2", "fail", ((1, 2),)), ("u3", "fail", ((1, 3),)),
            ("u4", "fail", ((1, 4),)), ("u5", "fail", ((1, 1),)), ("u6", "fail", ((2, 1),)),
            ("u7", "fail", ((1, 0), (2, 1), (3, 3))), ("u8", "fail", ((1, 0), (1, 4), (2, 1), (2, 4), (5, 4), (3, 2))),
            ("g1", "fail", ((1, 0), (3, 1), (4, 1))), ("g2", "ok", ((1, 0), (4, 1), (5, 1), (3, 1), (8, 2))),
            ("p1", "maybe", ((1, 0),)), ("p2", "ok", ((0, 0), ("x", 0), (1, 5), (1, "x"), (2, 0))),
            ("i" * 65, "ok", ((1, 0),)), ("s1", "ok", ((1, 0), (1, 0), (2, 1)))):
        for seq, op in steps:
            fast_step(r, sid, ident, seq, op, gap)
    for reply in ("FI.$FI", "FI.u.10.ok.1.0.$FI.x", "FI.10.ok.1.0.$FI"):
        r.c.pub("b.x", "d", reply)
        settled(r, "b.x")
        r.drain(sid, 0.15)
    fast_step(r, sid, "hold", 1, 0)
    fast_step(r, sid, "e1", 1, 0)
    fast_step(r, sid, "e1", 2, 1, **wrong)
    fast_step(r, sid, "e1", 3, 1)
    fast_step(r, sid, "e1", 4, 2, **wrong)
    fast_step(r, sid, "e2", 1, 0, "fail")
    fast_step(r, sid, "e2", 2, 1, "fail", **wrong)
    fast_step(r, sid, "e2", 3, 1, "fail")
    fast_step(r, sid, "e3", 1, 0, **wrong)
    fast_step(r, sid, "e3", 2, 2)
    fast_step(r, sid, "e4", 1, 0, "fail", **wrong)
    fast_step(r, sid, "e5", 1, 2, **wrong)
    fast_step(r, sid, "e6", 1, 0, Nats_TTL="5")
    fast_step(r, sid, "e6", 2, 3)
    fast_step(r, sid, "d1", 1, 0, Nats_Msg_Id="a")
    fast_step(r, sid, "d1", 2, 1, Nats_Msg_Id="a")
    fast_step(r, sid, "d1", 3, 2, Nats_Msg_Id="a")
    fast_step(r, sid, "hold", 2, 1)  # a batch that rests for ten seconds is let go
    no_id = {"Nats_Expected_Last_Msg_Id": "none"}
    for i, h in enumerate((dict(wrong, Nats_Msg_Id="a"), dict(wrong, Nats_TTL="x"), dict(wrong, Nats_Schedule="x"), dict(wrong, Nats_Rollup="x"),
                           {"Nats_Rollup": "sub", "Nats_Schedule": "x"}, dict(no_id, Nats_Rollup="sub"), no_id, {"Nats_Required_Api_Level": "99"})):
        fast_step(r, sid, "w%d" % i, 1, 2, **h)
    fast_step(r, sid, "hold", 3, 1)
    fast_step(r, sid, "f1", 1, 0, flow=100)
    for i in range(2, 60):
        r.c.pub("b.x", "d", "FI.f1.100.ok.%d.1.$FI" % i)
    fast_step(r, sid, "f1", 60, 2, flow=100, wait=0.3)
    fast_step(r, sid, "f2", 1, 0, flow=3)
    for i in range(2, 14):
        r.c.pub("b.x", "d", "FI.f2.3.ok.%d.1.$FI" % i)
    fast_step(r, sid, "f2", 14, 2, flow=3, wait=0.3)
    config(r, "UPDATE", "B", allow_batched=True, max_msg_size=50)
    fast_step(r, sid, "t1", 1, 0)
    fast_step(r, sid, "t1", 2, 1, data="x" * 60)
    fast_step(r, sid, "t1", 3, 2)
    config(r, "UPDATE", "B")
    fast_step(r, sid, "hold", 4, 2)
    for name in "AB":
        r.api("STREAM.DELETE." + name, quiet=True)


def incr(r, v, subject="c.x", data="", **headers):
    h = {"Nats-Incr": v} if v is not None else {}
    h.update({k.replace("_", "-"): x for k, x in headers.items()})
    m = r.try_request(subject, data, h or None)
    r.say("incr", v, subject, repr(data), headers or "", "->",
          "nothing" if isinstance(m, Exception) else m.data.decode())


def counters(r):
    """Counters (ADR-49): config, numbers, headers that do not go with them, batches."""
    for cfg in ({"discard": "new"}, {"allow_msg_ttl": True}, {"retention": "interest"}, {"retention": "workqueue"},
                {"subject_delete_marker_ttl": 1000000000}, {"allow_batched": True, "allow_atomic": True}):
        config(r, "CREATE", "E", allow_msg_counter=True, **cfg)
        r.api("STREAM.DELETE.E", quiet=True)
    config(r, "CREATE", "A")
    incr(r, "1", "a.x")
    config(r, "UPDATE", "A", allow_msg_counter=True)
    config(r, "CREATE", "C", allow_msg_counter=True)
    config(r, "UPDATE", "C")
    for v in ("1", "+1", "-1", "+0", "0", "-0", "5", "-10", "007", "+", "-", "", "x", "1.5", "1e3", " 3", "3 ", "0x10",
              "1_000", "++1", "170141183460469231731687303715884105727", "1", "-340282366920938463463374607431768211456",
              "9" * 60, "-" + "9" * 60, "1"):
        incr(r, v)
    incr(r, None)
    incr(r, "1", data="x")
    incr(r, None, data="x")
    for h in ({"Nats_Rollup": "sub"}, {"Nats_Expected_Last_Sequence": "0"}, {"Nats_Expected_Last_Msg_Id": "x"},
              {"Nats_Expected_Last_Subject_Sequence": "0"}, {"Nats_Expected_Stream": "C"}, {"Nats_Expected_Stream": "Z"},
              {"Nats_Expected_Last_Subject_Sequence_Subject": "c.x"}, {"Nats_Msg_Id": "m"}, {"Nats_Msg_Id": "m"},
              {"Nats_TTL": "5"}, {"X": "y", "Nats_Counter_Sources": '{"a":{"b":"1"}}'}, {"Z": "z"}):
        incr(r, "1", **h)
    last = r.api("STREAM.INFO.C", quiet=True)["state"]["last_seq"]
    for seq in (1, 3, 9, last - 2, last - 1, last):
        stored(r, "C", seq)
    incr(r, "1", "c.y")
    incr(r, "2", "c.y")
    r.api("STREAM.MSG.DELETE.C", {"seq": last + 2}, quiet=True)
    incr(r, "5", "c.y")
    r.api("STREAM.PURGE.C", {"filter": "c.y"}, quiet=True)
    incr(r, "4", "c.y")
    r.stream("D", allow_msg_counter=True, allow_atomic=True, allow_batched=True)
    for i, (subject, v) in enumerate((("d.x", "1"), ("d.x", "2"), ("d.y", "5"), ("d.x", "3"))):
        batch(r, "b1", i + 1, subject, "1" if i == 3 else None, "", Nats_Incr=v)
    for seq in range(1, 5):
        stored(r, "D", seq)
    batch(r, "b2", 1, "d.x", data="")
    batch(r, "b2", 2, "d.x", "1", "", Nats_Incr="3")
    batch(r, "b3", 1, "d.x", "1", "z", Nats_Incr="3")
    batch(r, "b4", 1, "d.x", "1", "", Nats_Incr="x")
    sid = r.c.sub("FI.>")
    fast_step(r, sid, "q", 1, 2, subject="d.x", data="", Nats_Incr="7")
    fast_step(r, sid, "q", 1, 2, subject="d.x", data="", Nats_Incr="x")
    stored(r, "D", 5)
    r.stream("G", allow_msg_counter=True, max_msg_size=45)
    incr(r, "1", "g.x")
    incr(r, "1" + "0" * 30, "g.x")
    for name in "ACDG":
        r.api("STREAM.DELETE." + name, quiet=True)


def schedule(r, what, subject="s.a", data="d", **headers):
    h = {"Nats-Schedule": what} if what is not None else {}
    h.update({k.replace("_", "-"): v for k, v in headers.items()})
    m = r.try_request(subject, data, h)
    r.say("schedule", subject, h, "->", "nothing" if isinstance(m, Exception) else m.data.decode())


def schedules(r):
    """Schedules (ADR-51): config, what is refused, what they make. Other time zones than UTC are not served."""
    far, t = "@at 2130-01-01T00:00:00Z", {"Nats_Schedule_Target": "s.t"}
    for cfg in ({}, {"pedantic": True}, {"pedantic": True, "allow_rollup_hdrs": True}, {"deny_purge": True},
                {"deny_purge": True, "allow_rollup_hdrs": True}, {"retention": "workqueue"}, {"discard": "new"}):
        config(r, "CREATE", "E", allow_msg_schedules=True, **cfg)
        r.api("STREAM.DELETE.E", quiet=True)
    config(r, "CREATE", "A")
    schedule(r, far, "a.x", Nats_Schedule_Target="a.y")
    for h in ({"Nats_Schedule_Target": "a.y"}, {"Nats_Schedule_TTL": "5"}, {"Nats_Schedule_Next": "purge"},
              {"Nats_Scheduler": "a.z"}, {"Nats_Scheduler": "a.z", "Nats_Schedule_Next": "purge"}):
        schedule(r, None, "a.x", **h)
    config(r, "UPDATE", "A", allow_msg_schedules=True)
    config(r, "UPDATE", "A")
    schedule(r, far, "a.x", Nats_Schedule_Target="a.y", Nats_Schedule_TTL="5")
    config(r, "CREATE", "S", allow_msg_schedules=True, allow_msg_ttl=True)
    for p in (far, "@at x", "@at", "2030-01-01T00:00:00Z", "@every 1h", "@every 999ms", "@every", "@yearly", "@reboot",
              "* * * * *", "0 0 5 1 1 7", "0 0 5 31 2 *", "0 0 5 1 jan *", "60 * * * * *", "0 0 0 1 1 SUN,TUE", ""):
        schedule(r, p, "s.p", **t)
    for v in (None, "s.*", "s t", "x.y", "s.a", "s..t"):
        schedule(r, far, **({"Nats_Schedule_Target": v} if v else {}))
    for v in ("5", "0", "x", "never"):
        schedule(r, far, Nats_Schedule_TTL=v, **t)
    for v in ("sub", "all"):
        schedule(r, far, Nats_Schedule_Rollup=v, **t)
        schedule(r, far, Nats_Rollup=v, **t)
    for v in ("s.q", "s.*", "s.a", "s.t", "x.y"):
        schedule(r, far, Nats_Schedule_Source=v, **t)
    for v in ("UTC", "+02:00", "", "utc", "Nowhere/City"):
        schedule(r, "0 0 5 1 1 *", Nats_Schedule_Time_Zone=v, **t)
        schedule(r, far, Nats_Schedule_Time_Zone=v, **t)
    schedule(r, None, "s.n", Nats_Schedule_Time_Zone="UTC", **t)
    for n, s in (("purge", None), (None, "s.a"), ("purge", "s.n"), ("purge", "s.*"), ("x", "s.a"), ("purge", "s.z"),
                 ("purge", "nope.x"), ("purge", "s.a")):
        h = {"Nats_Schedule_Next": n, "Nats_Scheduler": s}
        schedule(r, None, "s.z", **{k: v for k, v in h.items() if v})
    schedule(r, None, "s.gone", Nats_Schedule_Next="purge", Nats_Scheduler="s.p")
    last = r.api("STREAM.INFO.S", quiet=True)["state"]["last_seq"]
    for seq in range(last - 3, last + 1):
        stored(r, "S", seq)
    r.consumer("S", "w", durable_name=None, ack_policy="none", deliver_subject="made", filter_subject="s.t.>",
               deliver_policy="new")
    sid = r.c.sub("made")
    schedule(r, "@at 2020-01-01T00:00:00Z", "s.past", "body", Nats_Schedule_Target="s.t.1", Nats_Schedule_TTL="5m",
             Nats_Schedule_Rollup="sub", X="y", Nats_TTL="100", Nats_Msg_Id="m")
    r.drain(sid, 1.5, 1)
    stored(r, "S", last + 1)
    r.c.request("s.src", "sample", {"Hdr": "src", "Nats-Msg-Id": "k", "Nats-TTL": "50"})
    schedule(r, "@every 1s", "s.samp", "own", Nats_Schedule_Source="s.src", Nats_Schedule_Target="s.t.2", C="d")
    r.drain(sid, 2.5, 2)
    r.api("STREAM.PURGE.S", {"filter": "s.samp"}, quiet=True)
    r.drain(sid, 0.3, 2)
    schedule(r, "* * * * * *", "s.every", "own", Nats_Schedule_Source="s.none", Nats_Schedule_Target="s.t.3", E="f")
    r.drain(sid, 2.5, 1)
    for name in "AS":
        r.api("STREAM.DELETE." + name, quiet=True)


ALL = [ttl, atomic, fast, counters, schedules]

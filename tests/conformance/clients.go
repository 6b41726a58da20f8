package main

import (
	"encoding/base64"
	"fmt"
)

// What the clients' key-value and object buckets send, as nats.go does: on streams of their names, beside what else a script does.

var clientThemes = []theme{
	{"kv", []obj{{"name": "KV_B", "subjects": []string{"$KV.B.>"}, "max_msgs_per_subject": 3, "discard": "new", "allow_rollup_hdrs": true,
		"deny_delete": true, "allow_direct": true, "allow_msg_ttl": true, "subject_delete_marker_ttl": 60 * second, "duplicate_window": 120 * second}},
		(*gen).keyValue},
	{"object", []obj{{"name": "OBJ_O", "subjects": []string{"$O.O.C.>", "$O.O.M.>"}, "discard": "new", "allow_rollup_hdrs": true, "allow_direct": true,
		"metadata": obj{"team": "a"}}}, (*gen).objects},
	{"pages", []obj{{"name": "S0", "subjects": []string{"s0.>"}, "allow_direct": true}, {"name": "S2", "subjects": []string{"s2.>"}}}, (*gen).pages},
}

func (g *gen) key() string { return pick(g, "a", "b", "c", "d.e", "d.f", "x-y_z/1=") }

func (g *gen) keyValue() {
	key := g.key()
	subject := "$KV.B." + key
	var kv []string
	body := g.payload()
	switch g.r.IntN(14) {
	case 0, 1: // create
		kv = []string{"Nats-Expected-Last-Subject-Sequence", "0"}
	case 2, 3: // update
		kv = []string{"Nats-Expected-Last-Subject-Sequence", fmt.Sprint(1 + g.r.IntN(g.msgIDs+1))}
	case 4:
		kv, body = []string{"KV-Operation", "DEL"}, ""
	case 5:
		kv, body = []string{"KV-Operation", "PURGE", "Nats-Rollup", "sub"}, ""
		if g.chance(40) {
			kv = append(kv, "Nats-TTL", pick(g, "1h", "60s", "1"))
		}
	case 6:
		kv = []string{"Nats-TTL", pick(g, "1h", "5m", "never", "1s"), "Nats-Expected-Last-Subject-Sequence", "0"}
	case 7:
		g.kvRead(subject)
		return
	case 8:
		g.kvWatch()
		return
	case 9:
		g.api("STREAM.PURGE.KV_B", js(obj{"filter": subject, "keep": pick(g, 0, 1, 1, 2)}))
		return
	case 10:
		g.api("STREAM.INFO.KV_B", pick(g, "", js(obj{"subjects_filter": pick(g, "$KV.B.>", "$KV.B.d.*", subject), "deleted_details": g.chance(30)})))
		return
	}
	st := step{op: "pub", subject: subject, body: body}
	if kv != nil {
		st.hdr = header(kv...)
	}
	g.add(st)
}

func (g *gen) kvRead(subject string) {
	switch g.r.IntN(6) {
	case 0, 1:
		g.api("DIRECT.GET.KV_B."+subject, "")
	case 2:
		g.api("DIRECT.GET.KV_B", js(obj{"seq": g.seq()}))
	case 3:
		g.api("STREAM.MSG.GET.KV_B", js(obj{"last_by_subj": subject}))
	case 4:
		g.api("DIRECT.GET.KV_B", js(obj{"last_by_subj": subject}))
	case 5:
		o := obj{"multi_last": []string{pick(g, "$KV.B.>", subject)}, "batch": pick(g, 1, 3, 100)}
		if g.chance(30) {
			o["up_to_seq"] = g.seq()
		}
		g.add(step{op: "pull", subject: api + "DIRECT.GET.KV_B", body: js(o), n: 1000})
	}
}

// kvWatch makes an ordered consumer, takes what it brings and deletes it.
func (g *gen) kvWatch() {
	g.subs++
	name, dlv := fmt.Sprint("W", g.subs), fmt.Sprint("watch.", g.subs)
	cfg := obj{"name": name, "deliver_subject": dlv, "ack_policy": "none", "max_deliver": 1, "ack_wait": 79200 * second, "num_replicas": 1,
		"mem_storage": true, "inactive_threshold": 300 * second, "filter_subject": pick(g, "$KV.B.>", "$KV.B.d.*", "$KV.B.a"),
		"deliver_policy": pick(g, "last_per_subject", "all", "new", "last_per_subject")}
	if g.chance(30) {
		cfg["headers_only"] = true
	}
	if g.chance(15) {
		cfg["filter_subjects"] = []string{"$KV.B.a", "$KV.B.d.>"}
		delete(cfg, "filter_subject")
	}
	if g.chance(15) {
		cfg["deliver_policy"], cfg["opt_start_seq"] = "by_start_sequence", 1+g.r.IntN(g.msgIDs+1)
	}
	subject := "CONSUMER.CREATE.KV_B." + name
	if f, ok := cfg["filter_subject"].(string); ok {
		subject += "." + f
	}
	g.add(step{op: "sub", subject: dlv, n: 1000 + g.subs})
	g.api(subject, js(obj{"stream_name": "KV_B", "config": cfg, "action": "create"}))
	if g.chance(50) {
		g.add(step{op: "pub", subject: "$KV.B." + g.key(), body: g.payload()})
	}
	g.add(step{op: "collect"})
	g.api("CONSUMER.INFO.KV_B."+name, "")
	if g.chance(70) {
		g.api("CONSUMER.DELETE.KV_B."+name, "")
		g.add(step{op: "unsub", n: 1000 + g.subs})
	}
}

func (g *gen) objects() {
	name := pick(g, "one", "two", "three")
	meta := "$O.O.M." + base64.URLEncoding.EncodeToString([]byte(name))
	chunks := "$O.O.C.NUID" + name
	switch g.r.IntN(9) {
	case 0, 1, 2: // put
		n := g.r.IntN(4)
		for range n {
			g.add(step{op: "pub", subject: chunks, body: g.payload()})
		}
		g.add(step{op: "pub", subject: meta, hdr: header("Nats-Rollup", "sub"), body: js(obj{"name": name, "nuid": "NUID" + name, "size": 10 * n, "chunks": n})})
	case 3: // delete
		g.add(step{op: "pub", subject: meta, hdr: header("Nats-Rollup", "sub"), body: js(obj{"name": name, "deleted": true})})
		g.api("STREAM.PURGE.OBJ_O", js(obj{"filter": chunks}))
	case 4:
		g.api(pick(g, "STREAM.MSG.GET.OBJ_O", "DIRECT.GET.OBJ_O"), js(obj{"last_by_subj": meta}))
	case 5:
		g.api("DIRECT.GET.OBJ_O."+meta, "")
	case 6, 7: // get, list
		g.subs++
		c, dlv := fmt.Sprint("G", g.subs), fmt.Sprint("get.", g.subs)
		filter := pick(g, chunks, "$O.O.M.>")
		cfg := obj{"name": c, "deliver_subject": dlv, "ack_policy": "none", "max_deliver": 1, "flow_control": true, "idle_heartbeat": 5 * second,
			"filter_subject": filter, "mem_storage": true, "num_replicas": 1}
		if filter != chunks {
			cfg["deliver_policy"] = "last_per_subject"
		}
		g.add(step{op: "sub", subject: dlv, n: 1000 + g.subs})
		g.api("CONSUMER.CREATE.OBJ_O."+c+"."+filter, js(obj{"stream_name": "OBJ_O", "config": cfg, "action": "create"}))
		g.add(step{op: "collect"})
		g.api("CONSUMER.DELETE.OBJ_O."+c, "")
	case 8: // seal, status
		if g.chance(15) {
			g.api("STREAM.UPDATE.OBJ_O", js(obj{"name": "OBJ_O", "subjects": []string{"$O.O.C.>", "$O.O.M.>"}, "discard": "new", "allow_rollup_hdrs": true,
				"allow_direct": true, "sealed": true}))
		}
		g.api("STREAM.INFO.OBJ_O", pick(g, "", `{"subjects_filter":"$O.O.M.>"}`, `{"subjects_filter":">","offset":1}`))
	}
}

// pages asks for parts of what there is: lists by offset and subject, subjects, batches by time and size.
func (g *gen) pages() {
	off := pick(g, 0, 1, 2, 3, 100, 1<<31, -1)
	switch g.r.IntN(8) {
	case 0:
		g.api(pick(g, "STREAM.NAMES", "STREAM.LIST"), js(obj{"offset": off, "subject": pick(g, "", "s0.a", "s0.>", ">", "s*.a", "nobody")}))
	case 1:
		g.api("STREAM.INFO.S0", js(obj{"subjects_filter": pick(g, ">", "s0.*", "s0.a.*", "nobody"), "offset": off, "deleted_details": g.chance(50)}))
	case 2:
		g.api(pick(g, "CONSUMER.NAMES.S0", "CONSUMER.LIST.S0"), js(obj{"offset": pick(g, 0, 100, 1<<31, -1)}))
	case 3:
		o := obj{"batch": pick(g, 1, 2, 1000, 0, -1), "start_time": pick(g, "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z", "2020-01-01T00:00:00+05:30"),
			"next_by_subj": pick(g, ">", "s0.a", "s0.a.*", "s0.*")}
		if g.chance(40) {
			o["max_bytes"] = pick(g, 1, 100, 1000, -1)
		}
		g.add(step{op: "pull", subject: api + "DIRECT.GET.S0", body: js(o), n: 1000})
	case 4:
		o := obj{"multi_last": pick(g, []string{"s0.a", "s0.b"}, []string{"s0.>"}, []string{"s0.*", "s0.a.*"}, []string{"s0.a", "s0.a"}), "batch": pick(g, 1, 2, 100)}
		if g.chance(40) {
			o[pick(g, "up_to_seq", "seq")] = g.seq()
		} else if g.chance(40) {
			o["up_to_time"] = pick(g, "2040-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
		}
		g.add(step{op: "pull", subject: api + "DIRECT.GET.S0", body: js(o), n: 1000})
	case 5:
		g.api("STREAM.PURGE.S0", js(pick(g, obj{"filter": "s0.a", "keep": 1}, obj{"filter": "s0.*", "keep": 2}, obj{"filter": "s0.>", "seq": 5}, obj{"keep": 3})))
	case 6:
		g.burst()
	case 7:
		g.api("INFO", "")
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// Bad values, one after the other, in every field and subject that takes one: numbers round the edges of 32, 53, 62, 63 and 64
// bits, names and subjects from none to far too long. Not random: the same in every run.

var edges = []string{"0", "1", "-1", "2147483647", "2147483648", "4294967296", "9007199254740993", "4611686018427387904", "4611686018427387905",
	"9223372036854775806", "9223372036854775807", "9223372036854775808", "18446744073709551614", "18446744073709551615",
	"18446744073709551616", "-2147483648", "-9223372036854775808", "-9223372036854775809", "1.5", "1e2", "1e400"}

func over62(n string) bool {
	v, ok := new(big.Int).SetString(n, 10)
	return ok && v.Cmp(new(big.Int).Lsh(big.NewInt(1), 62)) > 0
}

var badNames = []string{"", strings.Repeat("x", 254), strings.Repeat("x", 255), strings.Repeat("x", 256), "a.b", "a b", "a*", "a>", "a/b",
	`a\b`, "é", "a\tb", "$S", "-", "_"}

func badSubjects() (out []string) {
	for _, n := range []int{15, 16, 17, 128, 256, 257, 1023, 1024, 1025} {
		out = append(out, strings.TrimSuffix(strings.Repeat("t.", n), "."))
	}
	for _, n := range []int{255, 256, 257, 1000, 3000} {
		out = append(out, strings.Repeat("x", n))
	}
	return append(out, "", "a..b", ".a", "a.", ">", "*", "a.>", "a.*.b", "a*", "a>", "a b", "a\tb", "é", "$JS.x", "$SYS.x", "$KV.x")
}

// number puts a number into JSON as it stands.
func number(o obj, key, n string) string {
	c := obj{}
	for k, v := range o {
		c[k] = v
	}
	c[key] = json.Number("777777")
	return strings.Replace(js(c), ":777777", ":"+n, 1)
}

type values struct{ scripts [][]step }

func (v *values) begin() {
	v.scripts = append(v.scripts, nil)
	v.api("STREAM.CREATE.S", `{"name":"S","subjects":["s.>"],"allow_direct":true}`)
	v.api("STREAM.CREATE.M", `{"name":"M","subjects":["m.>"],"storage":"memory","allow_direct":true,"allow_rollup_hdrs":true,"allow_msg_ttl":true}`)
	v.api("CONSUMER.CREATE.S.C", `{"stream_name":"S","config":{"name":"C","durable_name":"C","ack_policy":"explicit"}}`)
	for i := range 4 {
		v.add(step{op: "pub", subject: "s.a", body: fmt.Sprint(i)})
		v.add(step{op: "pub", subject: "m.a", body: fmt.Sprint(i)})
	}
}

func (v *values) add(st step) {
	last := len(v.scripts) - 1
	v.scripts[last] = append(v.scripts[last], st)
}

func (v *values) api(what, body string) { v.add(step{op: "api", subject: api + what, body: body}) }

func (v *values) end() { // nothing was lost
	for _, s := range []string{"S", "M"} {
		v.api("STREAM.INFO."+s, `{"subjects_filter":">","deleted_details":true}`)
		for i := range 4 {
			v.api("STREAM.MSG.GET."+s, fmt.Sprintf(`{"seq":%d}`, i+1))
		}
	}
	v.api("CONSUMER.INFO.S.C", "")
}

func (v *values) requests(n string) {
	for _, s := range []string{"S", "M"} {
		b := strings.ToLower(s)
		if n != "0" && !over62(n) { // beyond: DIFFERENCES.md
			v.api("STREAM.PURGE."+s, number(obj{"filter": "none.x"}, "seq", n))
		}
		v.api("STREAM.PURGE."+s, number(obj{"filter": "none.x"}, "keep", n))
		v.api("STREAM.MSG.GET."+s, number(obj{}, "seq", n))
		v.api("STREAM.MSG.GET."+s, number(obj{"next_by_subj": b + ".a"}, "seq", n))
		if n != "1" {
			v.api("STREAM.MSG.DELETE."+s, number(obj{}, "seq", n))
		}
		v.api("STREAM.INFO."+s, number(obj{"subjects_filter": ">"}, "offset", n))
		v.api("DIRECT.GET."+s, number(obj{}, "seq", n))
		v.api("DIRECT.GET."+s, number(obj{"next_by_subj": b + ".>"}, "seq", n))
	}
	for _, what := range []string{"STREAM.NAMES", "STREAM.LIST", "CONSUMER.NAMES.S", "CONSUMER.LIST.S"} {
		v.api(what, number(obj{}, "offset", n))
	}
	for _, f := range []string{"min_pending", "min_ack_pending", "priority", "idle_heartbeat"} {
		v.add(step{op: "pull", subject: api + "CONSUMER.MSG.NEXT.S.C", body: number(obj{"batch": 0, "no_wait": true, "group": 5}, f, n), n: 1})
	}
	for _, h := range []string{"Nats-Expected-Last-Sequence", "Nats-Expected-Last-Subject-Sequence", "Nats-Batch-Sequence"} {
		v.add(step{op: "pub", subject: "m.x", hdr: header(h, n, "Nats-Expected-Stream", "OTHER"), body: "x"})
	}
}

func (v *values) configs(n string) {
	stream := obj{"name": "T", "subjects": []string{"t.>"}}
	for _, f := range []string{"max_msgs", "max_bytes", "max_age", "max_msgs_per_subject", "max_msg_size", "duplicate_window", "max_consumers",
		"num_replicas", "subject_delete_marker_ttl"} {
		v.api("STREAM.CREATE.T", number(stream, f, n))
		v.api("STREAM.DELETE.T", "")
	}
	for _, f := range []string{"ack_wait", "max_deliver", "max_waiting", "max_ack_pending", "max_batch", "max_expires", "max_bytes",
		"inactive_threshold", "num_replicas", "priority_timeout", "idle_heartbeat"} {
		if f == "inactive_threshold" && n == "1" { // it is gone before it can be deleted, or not
			continue
		}
		cfg := number(obj{"name": "V", "ack_policy": "explicit"}, f, n)
		v.api("CONSUMER.CREATE.S.V", `{"stream_name":"S","config":`+cfg+`}`)
		v.api("CONSUMER.DELETE.S.V", "")
	}
	if !over62(n) {
		v.api("STREAM.CREATE.T", number(stream, "first_seq", n))
		v.api("STREAM.DELETE.T", "")
		cfg := number(obj{"name": "V", "ack_policy": "explicit", "deliver_policy": "by_start_sequence"}, "opt_start_seq", n)
		v.api("CONSUMER.CREATE.S.V", `{"stream_name":"S","config":`+cfg+`}`)
		v.api("CONSUMER.DELETE.S.V", "")
		v.api("CONSUMER.RESET.S.C", number(obj{}, "seq", n))
		v.api("CONSUMER.RESET.S.C", `{"seq":1}`)
	}
}

func (v *values) name(n string) {
	token := n
	if n == "" || strings.ContainsAny(n, " \t*>.") {
		token = "N"
	}
	v.api("STREAM.CREATE."+token, js(obj{"name": n, "subjects": []string{"n.x"}}))
	v.api("STREAM.INFO."+token, "")
	v.api("STREAM.DELETE."+token, "")
	cfg := obj{"name": n, "ack_policy": "explicit"}
	for _, durable := range []bool{false, true} {
		if durable {
			cfg["durable_name"] = n
		}
		v.api("CONSUMER.CREATE.S."+token, js(obj{"stream_name": "S", "config": cfg}))
		v.api("CONSUMER.INFO.S."+token, "")
		v.api("CONSUMER.DELETE.S."+token, "")
	}
}

func (v *values) subject(x string) {
	stream := func(more obj) {
		cfg := obj{"name": "T", "subjects": []string{"t.>"}}
		for k, val := range more {
			cfg[k] = val
		}
		if more["mirror"] != nil {
			delete(cfg, "subjects")
		}
		v.api("STREAM.CREATE.T", js(cfg))
		v.api("STREAM.DELETE.T", "")
	}
	stream(obj{"subjects": []string{x}})
	stream(obj{"mirror": obj{"name": "NONE", "filter_subject": x}})
	stream(obj{"sources": []obj{{"name": "NONE", "filter_subject": x}}})
	if len(x) < 200 {
		stream(obj{"republish": obj{"src": x, "dest": "r.>"}})
		stream(obj{"republish": obj{"src": ">", "dest": x}})
	}
	for _, more := range []obj{{"filter_subject": x}, {"filter_subjects": []string{x}}, {"deliver_subject": x}} {
		more["name"], more["ack_policy"] = "V", "explicit"
		v.api("CONSUMER.CREATE.S.V", js(obj{"stream_name": "S", "config": more}))
		v.api("CONSUMER.DELETE.S.V", "")
	}
	v.api("STREAM.PURGE.S", js(obj{"filter": x, "keep": 100}))
	v.api("STREAM.MSG.GET.S", js(obj{"last_by_subj": x}))
	v.api("STREAM.MSG.GET.S", js(obj{"next_by_subj": x, "seq": 100}))
	v.api("STREAM.INFO.S", js(obj{"subjects_filter": x}))
	v.api("STREAM.NAMES", js(obj{"subject": x}))
	if x != "" && !strings.ContainsAny(x, " \t*>") && !strings.Contains("."+x+".", "..") && len(x) < 2000 {
		v.add(step{op: "pub", subject: "p." + x, body: "nobody listens"})
	}
}

func badValues() [][]step {
	v := &values{}
	for _, n := range edges {
		v.begin()
		v.requests(n)
		v.configs(n)
		v.end()
	}
	v.begin()
	for _, n := range badNames {
		v.name(n)
	}
	v.end()
	for _, x := range badSubjects() {
		v.begin()
		v.subject(x)
		v.end()
	}
	return v.scripts
}

// valueScripts runs them.
func (w *world) valueScripts() (ran int, err error) {
	for i, steps := range badValues() {
		if err := w.script(fmt.Sprintf("values %d", i), steps); err != nil {
			return ran, err
		}
		ran++
	}
	return ran, nil
}

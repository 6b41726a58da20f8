package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// diff is one difference between the two servers: where (the request's kind), which part of the answer, and both values.
type diff struct {
	where, path, theirs, ours string
}

// key is what differences are counted by: numbers do not make a new one.
func (d diff) key() string {
	return digits.ReplaceAllString(d.where+"\x00"+d.path+"\x00"+d.theirs+"\x00"+d.ours, "#")
}

var (
	digits  = regexp.MustCompile(`\d+`)
	ackTime = regexp.MustCompile(`(\$JS\.ACK\.[^\s"]*\.)\d{19}(\.\d+)`)
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	madeID  = regexp.MustCompile(`^[A-Za-z0-9]{22}$`)
)

// node is a JSON value that remembers the order of its members.
type node struct {
	kind byte // o, a, s, n, b, 0
	keys []string
	vals map[string]*node
	arr  []*node
	text string
}

func parse(text string) (*node, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	n, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("text after the JSON value")
	}
	return n, nil
}

func parseValue(d *json.Decoder) (*node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &node{kind: 'a', vals: map[string]*node{}}
		if v == '{' {
			n.kind = 'o'
		}
		for d.More() {
			key := ""
			if n.kind == 'o' {
				k, err := d.Token()
				if err != nil {
					return nil, err
				}
				key, _ = k.(string)
			}
			x, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			if n.kind == 'o' {
				n.keys = append(n.keys, key)
				n.vals[key] = x
			} else {
				n.arr = append(n.arr, x)
			}
		}
		_, err := d.Token()
		return n, err
	case string:
		return &node{kind: 's', text: v}, nil
	case json.Number:
		return &node{kind: 'n', text: v.String()}, nil
	case bool:
		return &node{kind: 'b', text: strconv.FormatBool(v)}, nil
	}
	return &node{kind: '0', text: "null"}, nil
}

func (n *node) get(path ...string) *node {
	for _, p := range path {
		if n == nil || n.kind != 'o' {
			return nil
		}
		n = n.vals[p]
	}
	return n
}

func (n *node) str() string {
	if n == nil {
		return ""
	}
	return n.text
}

// show is a short text of a value.
func (n *node) show(key string) string {
	switch {
	case n == nil:
		return "absent"
	case n.kind == 'o':
		var parts []string
		for _, k := range n.keys {
			parts = append(parts, k+":"+n.vals[k].show(k))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case n.kind == 'a':
		var parts []string
		for _, x := range n.arr {
			parts = append(parts, x.show(key))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return scalar("", key, n)
}

// durations and counters that depend on the moment
var momentary = map[string]bool{"active": true, "last_active_ns": true, "uptime": true, "avg_ack": true, "pause_remaining": true, "rtt": true}

func scalar(path, key string, n *node) string {
	if n.kind == 's' {
		if (key == "id" || key == "server_id") && madeID.MatchString(n.text) {
			return "<id>"
		}
		return strconv.Quote(normalText(n.text))
	}
	if n.kind == 'n' && momentary[key] || n.kind == 'n' && (path == "api.total" || path == "api.errors") {
		return "<n>"
	}
	return n.text
}

// normalText blanks what differs from run to run inside a text: times of now, the time in an ack's subject.
func normalText(s string) string {
	s = ackTime.ReplaceAllString(s, "${1}<ts>$2")
	return anyTime.ReplaceAllStringFunc(s, func(t string) string {
		at, err := time.Parse(time.RFC3339Nano, t)
		if err == nil && at.After(time.Now().Add(-24*time.Hour)) && at.Before(time.Now().Add(24*time.Hour)) {
			if strings.HasSuffix(t, "Z") {
				return "<now>"
			}
			return "<now, not UTC>"
		}
		return t
	})
}

func compareNodes(where, path, key string, theirs, ours *node, out *[]diff) {
	if key == "metadata" && (theirs == nil) != (ours == nil) { // none at all is as an empty one
		none := &node{kind: 'o', vals: map[string]*node{}}
		if theirs == nil {
			theirs = none
		} else {
			ours = none
		}
	}
	add := func(path, a, b string) { *out = append(*out, diff{where, path, clip(a), clip(b)}) }
	switch {
	case theirs == nil || ours == nil || theirs.kind != ours.kind:
		if theirs != ours {
			add(path, theirs.show(key), ours.show(key))
		}
	case theirs.kind == 'o':
		compareObjects(where, path, theirs, ours, out)
	case theirs.kind == 'a':
		if len(theirs.arr) != len(ours.arr) {
			add(path, theirs.show(key), ours.show(key))
			return
		}
		madeLast(theirs.arr)
		madeLast(ours.arr)
		for i := range theirs.arr {
			compareNodes(where, path+"[]", key, theirs.arr[i], ours.arr[i], out)
		}
	default:
		if a, b := scalar(path, key, theirs), scalar(path, key, ours); a != b {
			add(path, a, b)
		}
	}
}

// madeLast puts what has a made-up name at the end of a list, in the order of their making: lists are sorted by name.
func madeLast(list []*node) {
	name := func(n *node) string {
		if n.kind == 'o' {
			n = n.get("name")
		}
		if s := n.str(); strings.HasPrefix(s, "{E") {
			return s
		}
		return ""
	}
	sort.SliceStable(list, func(i, j int) bool { return name(list[i]) < name(list[j]) })
}

func compareObjects(where, path string, theirs, ours *node, out *[]diff) {
	seen := map[string]bool{}
	var both []string
	for _, k := range append(append([]string(nil), theirs.keys...), ours.keys...) {
		if seen[k] {
			continue
		}
		seen[k] = true
		p := k
		if path != "" {
			p = path + "." + k
		}
		if theirs.vals[k] != nil && ours.vals[k] != nil {
			both = append(both, k)
		}
		compareNodes(where, p, k, theirs.vals[k], ours.vals[k], out)
	}
	order := func(n *node) (o []string) {
		for _, k := range n.keys {
			if theirs.vals[k] != nil && ours.vals[k] != nil {
				o = append(o, k)
			}
		}
		return o
	}
	if a, b := strings.Join(order(theirs), ","), strings.Join(order(ours), ","); len(both) > 1 && a != b {
		*out = append(*out, diff{where, path + "(order)", clip(a), clip(b)})
	}
}

func clip(s string) string {
	s = strings.NewReplacer("\r", `\r`, "\n", `\n`, "|", "¦").Replace(s)
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}

const brokenBy = "change to limits violates consumers: "

// outcome is "ok" or the error of an API answer, and whether it is an error.
func outcome(n *node) (string, bool) {
	e := n.get("error")
	if e == nil {
		return "ok", false
	}
	text := normalText(e.get("description").str())
	if head, names, ok := strings.Cut(text, brokenBy); ok { // theirs names them in any order
		list := strings.Split(names, ", ")
		sort.Strings(list)
		text = head + brokenBy + strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s/%s %s", e.get("err_code").str(), e.get("code").str(), text), true
}

// compareMsgs compares what came back for one step. diverged is set where one server did it and the other did not, so that
// their states are no longer the same.
func compareMsgs(where string, theirs, ours []msg) (out []diff, diverged bool) {
	n := max(len(theirs), len(ours))
	for i := 0; i < n; i++ {
		if i >= len(theirs) || i >= len(ours) {
			out = append(out, diff{where, "messages", clip(list(theirs[min(i, len(theirs)):])), clip(list(ours[min(i, len(ours)):]))})
			return out, true
		}
		d, div := compareMsg(where, theirs[i], ours[i])
		out = append(out, d...)
		diverged = diverged || div
	}
	return out, diverged
}

func list(ms []msg) string {
	if len(ms) == 0 {
		return "nothing"
	}
	var s []string
	for _, m := range ms {
		s = append(s, normalText(strings.TrimSpace(m.reply+" "+strings.TrimSpace(m.hdr)+" "+m.data)))
	}
	return strings.Join(s, " & ")
}

func compareMsg(where string, a, b msg) (out []diff, diverged bool) {
	if x, y := normalText(a.subject), normalText(b.subject); x != y {
		out = append(out, diff{where, "subject", x, y})
	}
	if x, y := normalText(a.reply), normalText(b.reply); x != y {
		out = append(out, diff{where, "reply", x, y})
	}
	if x, y := normalText(a.hdr), normalText(b.hdr); x != y {
		out = append(out, diff{where, "header", clip(x), clip(y)})
		diverged = (a.hdr == "") != (b.hdr == "")
	}
	if a.data == b.data {
		return out, diverged
	}
	x, errX := parse(a.data)
	y, errY := parse(b.data)
	if errX != nil || errY != nil || x.kind != 'o' || y.kind != 'o' {
		return append(out, diff{where, "data", clip(normalText(a.data)), clip(normalText(b.data))}), true
	}
	ox, badX := outcome(x)
	oy, badY := outcome(y)
	if badX || badY {
		if ox != oy {
			out = append(out, diff{where, "outcome", clip(ox), clip(oy)})
		}
		if badX != badY {
			return out, true
		}
		delete(x.vals, "error")
		delete(y.vals, "error")
	}
	compareNodes(where, "", "", x, y, &out)
	return out, diverged
}

func sortedKeys[T any](m map[string]T) []string {
	var k []string
	for s := range m {
		k = append(k, s)
	}
	sort.Strings(k)
	return k
}

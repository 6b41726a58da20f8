package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/jsm.go/schemas"
)

// errorCase is a script of errors.txt.
type errorCase struct {
	code  string
	steps []step
}

var (
	repeated = regexp.MustCompile(`\{(\d+)\}`)
	pubLine  = regexp.MustCompile(`^(\S+) \[([^\]]*)\] ?(.*)$`)
)

func readErrorCases(file string) (out []*errorCase, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c *errorCase
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// {N} is N letters
		line = repeated.ReplaceAllStringFunc(line, func(s string) string {
			k, _ := strconv.Atoi(s[1 : len(s)-1])
			return strings.Repeat("x", k)
		})
		if rest, ok := strings.CutPrefix(line, "== "); ok {
			c = &errorCase{code: rest}
			out = append(out, c)
			continue
		}
		s, err := errorSteps(line)
		if err != nil || c == nil {
			return nil, fmt.Errorf("%s:%d: %v", filepath.Base(file), n+1, err)
		}
		c.steps = append(c.steps, s...)
	}
	return out, nil
}

func errorSteps(line string) ([]step, error) {
	verb, rest, _ := strings.Cut(line, " ")
	f := append(strings.Fields(rest), "", "", "", "")
	count, _ := strconv.Atoi(f[1])
	switch verb {
	case "api":
		subject, body, _ := strings.Cut(rest, " ")
		return []step{{op: "api", subject: api + subject, body: body}}, nil
	case "level":
		return []step{{op: "api", subject: api + f[0], hdr: header("Nats-Required-Api-Level", f[1])}}, nil
	case "stream":
		return []step{{op: "api", subject: api + "STREAM.CREATE." + rest, body: fmt.Sprintf(`{"name":%q,"subjects":["%s.>"]}`, rest, strings.ToLower(rest))}}, nil
	case "pub":
		m := pubLine.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("not a pub line")
		}
		st := step{op: "pub", subject: m[1], body: m[3]}
		if m[2] != "" {
			var kv []string
			for _, h := range strings.Split(m[2], "; ") {
				k, v, _ := strings.Cut(h, ": ")
				kv = append(kv, k, v)
			}
			st.hdr = header(kv...)
		}
		return []step{st}, nil
	case "bighdr":
		return []step{{op: "pub", subject: f[0], hdr: header("Big", strings.Repeat("h", count)), body: "x"}}, nil
	case "sub":
		return []step{{op: "sub", subject: f[0], n: 1}}, nil
	case "wait":
		ms, _ := strconv.Atoi(f[0])
		return []step{{op: "sleep", n: ms}}, nil
	case "batch", "batches": // an open batch of so many messages; so many open batches
		var out []step
		for i := range count {
			id, seq := "b", i+1
			if verb == "batches" {
				id, seq = fmt.Sprint("open", i), 1
			}
			out = append(out, step{op: "send", subject: f[0], hdr: header("Nats-Batch-Id", id, "Nats-Batch-Sequence", fmt.Sprint(seq)), body: "x"})
		}
		return out, nil
	case "fasts": // so many open fast-ingest batches
		var out []step
		for i := range count {
			out = append(out, step{op: "sendto", subject: f[0], body: fmt.Sprintf("conf.nobody.open%d.10.ok.1.0.$FI", i)})
		}
		return out, nil
	case "fast":
		return []step{{op: "fast", subject: f[0], body: "id." + "10.ok." + f[1] + "." + f[2]}}, nil
	case "fastid":
		return []step{{op: "fast", subject: f[0], body: f[1] + ".10.ok." + f[2] + "." + f[3]}}, nil
	}
	return nil, fmt.Errorf("no step called %q", verb)
}

// errorScripts runs every script of errors.txt on both servers, and notes which codes came.
func (w *world) errorScripts(cases []*errorCase) (missing []string, err error) {
	w.onward = true
	defer func() { w.onward = false }()
	for _, c := range cases {
		before := w.codes
		w.codes = [2]map[string]string{{}, {}}
		err := w.script("errors.txt "+c.code, c.steps)
		if w.codes[0][c.code] == "" {
			missing = append(missing, fmt.Sprintf("%s: nats-server does not give it, but %v", c.code, w.codes[0]))
		} else {
			w.produced[0][c.code] = true
		}
		if w.codes[1][c.code] != "" {
			w.produced[1][c.code] = true
		}
		for i := range before {
			for k, v := range w.codes[i] {
				before[i][k] = v
			}
		}
		w.codes = before
		if err != nil {
			return missing, err
		}
		changed, err := w.unchanged(c)
		if err != nil {
			return missing, err
		}
		if changed != "" {
			missing = append(missing, changed)
		}
	}
	return missing, nil
}

// errorTable checks errors.tsv: every code that jsm.go's errors.json and nats-server know stands there once, with its name, and
// the test it names exists and produced it.
func (w *world) errorTable(file string, cases []*errorCase, ran bool) (bad []string) {
	b, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	have := map[string]*errorCase{}
	for _, c := range cases {
		have[c.code] = c
	}
	rows := map[string][]string{}
	for n, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		f := strings.Split(line, "\t")
		if n == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 6 {
			bad = append(bad, fmt.Sprintf("errors.tsv:%d: %d columns", n+1, len(f)))
			continue
		}
		if rows[f[0]] != nil {
			bad = append(bad, "errors.tsv: "+f[0]+" stands twice")
		}
		rows[f[0]] = f
		test, ok := strings.CutPrefix(f[4], "errors.txt ")
		if ok && (have[test] == nil || test != f[0]) {
			bad = append(bad, "errors.tsv: "+f[0]+": no such script: "+f[4])
		}
		if path, _, _ := strings.Cut(f[4], " "); !ok && f[4] != "-" {
			if _, err := os.Stat(path); err != nil {
				bad = append(bad, "errors.tsv: "+f[0]+": no such test: "+f[4])
			}
		}
		if f[2] == "yes" && f[4] == "-" {
			bad = append(bad, "errors.tsv: "+f[0]+": one server can give it, and no test does")
		}
		if ok && ran && have[test] != nil {
			switch given := w.produced[1][f[0]]; {
			case f[5] == "yes" && !given:
				bad = append(bad, "errors.tsv: "+f[0]+" says that ours gives it; it did not")
			case f[5] != "yes" && given:
				fmt.Println("errors.tsv: " + f[0] + " says that ours does not give it; now it does: write yes")
			}
		}
	}
	text, err := schemas.Load("server/errors.json")
	var known []struct {
		Constant  string `json:"constant"`
		ErrorCode int    `json:"error_code"`
	}
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil {
		return append(bad, err.Error())
	}
	for _, k := range known {
		if f := rows[strconv.Itoa(k.ErrorCode)]; f == nil || f[1] != k.Constant {
			bad = append(bad, fmt.Sprintf("errors.tsv: %d %s is missing or has another name", k.ErrorCode, k.Constant))
		}
	}
	for code := range have {
		if rows[code] == nil || rows[code][4] != "errors.txt "+code {
			bad = append(bad, "errors.tsv: "+code+" has a script in errors.txt and does not name it")
		}
	}
	return bad
}

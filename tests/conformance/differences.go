package main

import (
	"fmt"
	"os"
	"path"
	"sort"
	"strings"
)

// entry is a row of DIFFERENCES.md: differences that are known, with the reason.
type entry struct {
	id, kind, where, path, theirs, ours, reason string
	seen                                        int
	example                                     diff
}

// readEntries reads the rows of every table whose first column is called id.
func readEntries(file string) ([]*entry, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*entry
	ids := map[string]bool{}
	for n, line := range strings.Split(string(b), "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		f := strings.Split(strings.Trim(line, "|"), "|")
		for i := range f {
			f[i] = strings.Trim(strings.TrimSpace(f[i]), "`")
		}
		if len(f) != 7 || f[0] == "id" || strings.HasPrefix(f[0], "--") {
			continue
		}
		if ids[f[0]] {
			return nil, fmt.Errorf("%s:%d: id %s stands twice", path.Base(file), n+1, f[0])
		}
		ids[f[0]] = true
		out = append(out, &entry{id: f[0], kind: f[1], where: f[2], path: f[3], theirs: f[4], ours: f[5], reason: f[6]})
	}
	return out, nil
}

// glob matches a text with a pattern in which * stands for anything; patterns side by side are separated by " or ".
func glob(pattern, text string) bool {
	for _, p := range strings.Split(pattern, " or ") {
		parts := strings.Split(p, "*")
		rest, ok := strings.CutPrefix(text, parts[0])
		if !ok {
			continue
		}
		for i, part := range parts[1:] {
			if i == len(parts)-2 {
				ok = strings.HasSuffix(rest, part)
				rest = ""
				break
			}
			at := strings.Index(rest, part)
			if at < 0 {
				ok = false
				break
			}
			rest = rest[at+len(part):]
		}
		if ok && rest == "" {
			return true
		}
	}
	return false
}

func (e *entry) matches(d diff) bool {
	return glob(e.where, d.where) && glob(e.path, d.path) && glob(e.theirs, d.theirs) && glob(e.ours, d.ours)
}

// found is a difference that is not listed, by its key.
type found struct {
	diff
	count  int
	origin string // seed and step
	repro  []step
}

// ledger counts differences, listed and not.
type ledger struct {
	entries []*entry
	news    map[string]*found
	order   []string
}

func (l *ledger) find(d diff) *entry {
	for _, e := range l.entries {
		if e.matches(d) {
			return e
		}
	}
	return nil
}

func (l *ledger) report() (bad int) {
	fmt.Println("\nlisted differences that occurred (tests/conformance/DIFFERENCES.md):")
	es := append([]*entry(nil), l.entries...)
	sort.SliceStable(es, func(i, j int) bool { return es[i].seen > es[j].seen })
	for _, e := range es {
		if e.seen > 0 {
			fmt.Printf("  %-4s %-11s %6d x  %s, %s: %s\n", e.id, e.kind, e.seen, e.example.where, e.example.path, e.example.ours)
		}
	}
	for _, e := range es {
		if e.seen == 0 {
			fmt.Printf("  %-4s %-11s listed, but it did not occur in this run: %s, %s\n", e.id, e.kind, e.where, e.path)
		}
	}
	for _, k := range l.order {
		f := l.news[k]
		bad++
		fmt.Printf("\nDIFFERENCE %s, %s (%d x, first at %s)\n  theirs: %s\n  ours:   %s\n", f.where, f.path, f.count, f.origin, f.theirs, f.ours)
		for i, s := range f.repro {
			fmt.Printf("    %2d %s\n", i, s)
		}
	}
	return bad
}

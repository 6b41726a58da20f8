package main

import (
	"fmt"
	"regexp"
	"strings"
)

// What a refused request may not touch: streams with their messages and config, consumers with theirs.

var passing = regexp.MustCompile(`"(ts|last_active)":"[^"]*",?|"(active|num_waiting|lag)":-?\d+,?|,?"error":\{[^}]*\}`)

func (s *side) stateNow() (string, error) {
	text, err := s.askText("STREAM.NAMES")
	if err != nil {
		return "", err
	}
	n, err := parse(text)
	if err != nil {
		return "", err
	}
	if names := n.get("streams"); names != nil {
		for _, name := range names.arr {
			for _, what := range []string{"STREAM.INFO.", "CONSUMER.LIST."} {
				more, err := s.askText(what + name.str())
				if err != nil {
					return "", err
				}
				text += "\n" + more
			}
		}
	}
	return passing.ReplaceAllString(text, ""), nil
}

// unchanged does a script once more and looks at what ours holds before its last step, the one that is refused, and behind it.
func (w *world) unchanged(c *errorCase) (string, error) {
	if err := w.reset(); err != nil {
		return "", err
	}
	last := len(c.steps) - 1
	for _, st := range c.steps[:last] {
		w.once(st)
	}
	before, err := w.ours.stateNow()
	if err != nil {
		return "", err
	}
	w.once(c.steps[last])
	after, err := w.ours.stateNow()
	if err != nil || before == after {
		return "", err
	}
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s: the refused request changed %s to %s", c.code, a[i], b[i]), nil
		}
	}
	return c.code + ": the refused request changed the streams", nil
}

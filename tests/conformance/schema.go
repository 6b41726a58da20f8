package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/jsm.go/schemas"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// validator holds the schemas of the jsm.go module, compiled when first asked for.
type validator struct {
	compiled map[string]*jsonschema.Schema
	counts   map[string]int // answers validated, by type
}

func newValidator() *validator {
	return &validator{compiled: map[string]*jsonschema.Schema{}, counts: map[string]int{}}
}

// find returns the schema of a type such as io.nats.jetstream.api.v1.stream_create_response.
func (v *validator) find(kind string) (*jsonschema.Schema, error) {
	if s, ok := v.compiled[kind]; ok {
		return s, nil
	}
	f := strings.Split(kind, ".")
	if len(f) != 6 || f[0] != "io" || f[1] != "nats" {
		return nil, fmt.Errorf("not a type of NATS: %q", kind)
	}
	path := strings.Join(f[2:], "/") + ".json"
	text, err := schemas.Load(path)
	if err != nil {
		return nil, fmt.Errorf("jsm.go has no schema for %s", kind)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(path, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(path)
	if err != nil {
		return nil, err
	}
	v.compiled[kind] = s
	return s, nil
}

// check returns what is wrong with an answer: a list of "location: what", empty when it is valid.
func (v *validator) check(kind, text string) []string {
	var doc any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return []string{"not JSON"}
	}
	s, err := v.find(kind)
	if err != nil {
		return []string{err.Error()}
	}
	v.counts[kind]++
	bad, ok := s.Validate(doc).(*jsonschema.ValidationError)
	if !ok || bad == nil {
		return nil
	}
	var out []string
	leaves(bad, &out)
	return out
}

var printer = message.NewPrinter(language.English)

func leaves(e *jsonschema.ValidationError, out *[]string) {
	if len(e.Causes) == 0 {
		*out = append(*out, fmt.Sprintf("/%s: %s", strings.Join(e.InstanceLocation, "/"), e.ErrorKind.LocalizedString(printer)))
	}
	for _, c := range e.Causes {
		leaves(c, out)
	}
}

// compare validates both servers' answers; only what is wrong with ours and not with theirs is a difference.
func (v *validator) compare(where, kind string, theirs, ours string) (out []diff) {
	bad := v.check(kind, ours)
	if len(bad) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, b := range v.check(kind, theirs) {
		known[b] = true
	}
	var news []string
	for _, b := range bad {
		// the other half of a oneOf, which every answer that is no error misses
		if !known[b] && !strings.HasPrefix(b, "/: missing property 'error'") {
			news = append(news, b)
		}
	}
	if len(news) == 0 {
		return nil
	}
	return []diff{{where, "schema " + kind[strings.LastIndex(kind, ".")+1:], "valid", clip(strings.Join(news, "; "))}}
}

// Sends the same generated scripts to a real nats-server and to ours and compares every answer: see README.md here.
package main

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

var (
	flagPeer      = flag.String("peer", "", "nats-server to compare with")
	flagOurs      = flag.String("ours", "build/bin/millrace", "server under test")
	flagDiffs     = flag.String("differences", "tests/conformance/DIFFERENCES.md", "what is known to differ")
	flagSeed      = flag.Uint64("seed", 1, "seed of the scripts")
	flagScripts   = flag.Int("scripts", 200, "scripts to run")
	flagOnly      = flag.Int("only", -1, "run this script only, and print its steps")
	flagBytes     = flag.Int("bytes", 300, "byte scripts to run")
	flagOnlyBytes = flag.Int("only-bytes", -1, "run this byte script only")
	flagCodes     = flag.Bool("codes", false, "print which codes each server gave")
	flagErrors    = flag.Bool("errors", true, "run the scripts of errors.txt")
	flagSteps     = flag.Int("steps", 40, "steps a script")
	flagSeconds   = flag.Int("seconds", 0, "stop after this many seconds")
	flagFailing   = flag.Int("minimise", 12, "differences to reduce to their steps")
)

var errDiffers = errors.New("a difference is not listed")

func main() {
	runtime.LockOSThread() // the servers end with the thread that started them
	flag.Parse()
	switch err := run(); {
	case errors.Is(err, errDiffers):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
}

func run() error {
	entries, err := readEntries(*flagDiffs)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	theirs, err := startServer("nats-server", *flagPeer, filepath.Join(dir, "theirs"))
	if err != nil {
		return err
	}
	defer theirs.stop()
	ours, err := startServer("ours", *flagOurs, filepath.Join(dir, "ours"))
	if err != nil {
		return err
	}
	defer ours.stop()
	w := &world{theirs: &side{srv: theirs}, ours: &side{srv: ours}, v: newValidator(), ledger: &ledger{entries: entries, news: map[string]*found{}},
		codes: [2]map[string]string{{}, {}}, failedScripts: map[string]bool{}, produced: [2]map[string]bool{{}, {}}}
	begin := time.Now()
	if *flagOnlyBytes >= 0 {
		*flagScripts = 0
	}
	ran, err := w.scripts(begin)
	if err != nil {
		return err
	}
	if *flagOnly < 0 {
		if err := w.byteScripts(*flagSeed, *flagBytes); err != nil {
			return err
		}
	}
	cases, err := readErrorCases(filepath.Join(filepath.Dir(*flagDiffs), "errors.txt"))
	if err != nil {
		return err
	}
	var wrong []string
	withErrors := *flagOnly < 0 && *flagOnlyBytes < 0 && *flagErrors
	if withErrors {
		if wrong, err = w.errorScripts(cases); err != nil {
			return err
		}
		more, err := w.valueScripts()
		if err != nil {
			return err
		}
		ran += more
	}
	wrong = append(wrong, w.errorTable(filepath.Join(filepath.Dir(*flagDiffs), "errors.tsv"), cases, withErrors)...)
	bad := w.ledger.report() + len(wrong)
	for _, x := range wrong {
		fmt.Println("ERROR CODES", x)
	}
	if *flagCodes {
		for _, c := range cases {
			fmt.Println("CODE", c.code, w.produced[0][c.code], w.produced[1][c.code])
		}
	}
	fmt.Printf("\nerror codes: %d scripts, %d given by nats-server, %d by ours\n", len(cases), len(w.produced[0]), len(w.produced[1]))
	validated := 0
	for _, n := range w.v.counts {
		validated += n
	}
	fmt.Printf("\nseed %d: %d scripts, %d steps, %d answers compared, %d validated against schemas, %d error codes of theirs, %d of ours, %.0f s\n",
		*flagSeed, ran, w.steps, w.answers, validated, len(w.codes[0]), len(w.codes[1]), time.Since(begin).Seconds())
	if w.followed > 0 {
		fmt.Printf("%d more differences came later in scripts that differed, and are not counted\n", w.followed)
	}
	if w.unstable > 0 {
		fmt.Printf("%d differences did not come again and were not counted: %s\n", w.unstable, strings.Join(w.unstableWhat, "; "))
	}
	fmt.Printf("conformance: %d passed, %d failed\n", ran-min(ran, len(w.failedScripts)), bad)
	if bad > 0 {
		return errDiffers
	}
	return nil
}

// scripts runs the generated scripts.
func (w *world) scripts(begin time.Time) (ran int, err error) {
	for i := range *flagScripts {
		if *flagOnly >= 0 && i != *flagOnly {
			continue
		}
		if *flagSeconds > 0 && time.Since(begin) > time.Duration(*flagSeconds)*time.Second {
			break
		}
		steps := generate(scriptRand(*flagSeed, i), *flagSteps)
		if *flagOnly >= 0 {
			for n, s := range steps {
				fmt.Printf("%3d %s\n", n, s)
			}
		}
		if err := w.script(fmt.Sprintf("seed %d script %d", *flagSeed, i), steps); err != nil {
			return ran, err
		}
		ran++
	}
	return ran, nil
}

func scriptRand(seed uint64, i int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%d", seed, i)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// play runs steps on fresh servers' state; it ends where the two have gone different ways.
func (w *world) play(steps []step) (diffs [][]diff, err error) {
	if err := w.reset(); err != nil {
		return nil, err
	}
	gone := false
	for _, st := range steps {
		d, diverged := w.do(st)
		diffs = append(diffs, d)
		if w.onward { // an error's script goes on; what follows from the first difference says nothing
			if gone {
				diffs[len(diffs)-1] = nil
			}
			gone = gone || diverged
		} else if diverged && !w.repair(st) {
			break
		}
	}
	return diffs, nil
}

// repair undoes a create that only one of the two has done, so that the script can go on.
func (w *world) repair(st step) bool {
	if st.op != "api" {
		return false
	}
	f := strings.Split(strings.TrimPrefix(st.subject, api), ".")
	var undo string
	f = append(f, "", "", "", "")[:max(len(f), 4)]
	switch {
	case f[0] == "STREAM" && f[1] == "CREATE":
		undo = "STREAM.DELETE." + f[2]
	case f[0] == "CONSUMER" && f[1] == "CREATE" && f[3] != "":
		undo = "CONSUMER.DELETE." + f[2] + "." + f[3]
	case f[0] == "CONSUMER" && f[1] == "DURABLE" && len(f) == 5:
		undo = "CONSUMER.DELETE." + f[3] + "." + f[4]
	default:
		return false
	}
	for _, s := range w.both() {
		if _, err := s.ask(undo); err != nil {
			return false
		}
	}
	w.theirs.inbox = max(w.theirs.inbox, w.ours.inbox)
	w.ours.inbox = w.theirs.inbox
	return true
}

func (w *world) script(origin string, steps []step) error {
	diffs, err := w.play(steps)
	if err != nil {
		return err
	}
	bad := false
	for n, ds := range diffs {
		for _, d := range ds {
			if e := w.ledger.find(d); e != nil {
				e.seen++
				e.example = d
				continue
			}
			if bad && w.ledger.news[d.key()] == nil {
				w.followed++
				continue
			}
			if err := w.unlisted(d, fmt.Sprintf("%s step %d", origin, n), steps[:n+1]); err != nil {
				return err
			}
		}
		// what comes after a step that differed follows from it, more often than not
		bad = bad || w.failedScripts[origin]
	}
	return nil
}

// unlisted counts a difference that no entry explains, when it comes again, and looks for the fewest steps that show it.
func (w *world) unlisted(d diff, origin string, steps []step) error {
	if f := w.ledger.news[d.key()]; f != nil {
		f.count++
		return nil
	}
	again := func(s []step) (bool, error) {
		diffs, err := w.play(s)
		for _, ds := range diffs {
			for _, x := range ds {
				if x.key() == d.key() {
					return true, err
				}
			}
		}
		return false, err
	}
	return w.judgeNew(d, origin, steps, again)
}

// judgeNew counts a difference that comes again when its steps are done again, and reduces them.
func (w *world) judgeNew(d diff, origin string, steps []step, again func([]step) (bool, error)) error {
	came, err := again(steps)
	if err != nil {
		return err
	}
	if !came {
		w.unstable++
		w.unstableWhat = append(w.unstableWhat, fmt.Sprintf("%s: %s, %s: theirs %s, ours %s", origin, d.where, d.path, d.theirs, d.ours))
		return nil
	}
	if len(steps) == 0 {
		steps = []step{{op: "connect"}}
	}
	f := &found{diff: d, count: 1, origin: origin}
	w.ledger.news[d.key()] = f
	w.ledger.order = append(w.ledger.order, d.key())
	w.failedScripts[strings.SplitN(origin, " step", 2)[0]] = true
	if len(w.ledger.order) > *flagFailing {
		return nil
	}
	f.repro, err = minimise(steps, again)
	return err
}

// minimise leaves out steps while the difference stays.
func minimise(steps []step, again func([]step) (bool, error)) ([]step, error) {
	for size := (len(steps) + 1) / 2; size >= 1; size /= 2 {
		for at := 0; at < len(steps)-1; {
			end := min(at+size, len(steps)-1)
			less := append(append([]step(nil), steps[:at]...), steps[end:]...)
			came, err := again(less)
			if err != nil {
				return steps, err
			}
			if came {
				steps = less
			} else {
				at = end
			}
		}
	}
	return steps, nil
}

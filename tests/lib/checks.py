"""What integration scripts check with, where one wrong answer is no reason to stop: check() says and counts, `failed` is the
count. until() waits for what takes a moment."""
import time

failed = 0


def check(what, got, want):
    global failed
    if got != want:
        failed += 1
        print("FAIL %s: %r, not %r" % (what, got, want))


def until(what, fn, wait_s=30):
    """Asks again until fn gives something true, and returns that."""
    end = time.monotonic() + wait_s
    while True:
        got = fn()
        if got:
            return got
        assert time.monotonic() < end, "not in time: " + what

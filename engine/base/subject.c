#include "engine/base/subject.h"

#include <stdint.h>
#include <string.h>

struct token {
    const char *s;
    size_t len;
};

/* Walks the tokens of a subject; `at` is one past the end plus one when the last token was taken.
 */
struct walk {
    const char *s;
    size_t len, at;
};

static bool next_token(struct walk *w, struct token *t)
{
    if (w->at > w->len) {
        return false;
    }
    const char *from = w->s + w->at;
    size_t left = w->len - w->at;
    const char *dot = left == 0 ? NULL : memchr(from, '.', left);
    t->s = from;
    t->len = dot == NULL ? left : (size_t)(dot - from);
    w->at += t->len + 1;
    return true;
}

static bool is_one(const struct token *t, char c)
{
    return t->len == 1 && t->s[0] == c;
}

static bool same(const struct token *a, const struct token *b)
{
    return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
}

static bool bad_byte(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

bool subject_valid(const char *s, size_t len)
{
    struct walk w = {s, len, 0};
    struct token t;
    while (next_token(&w, &t)) {
        if (t.len == 0) {
            return false;
        }
        if (is_one(&t, '>') && w.at <= w.len) {
            return false;
        }
        for (size_t i = 0; i < t.len; i++) {
            if (bad_byte(t.s[i])) {
                return false;
            }
        }
    }
    return true;
}

bool subject_has_wildcard(const char *s, size_t len)
{
    struct walk w = {s, len, 0};
    struct token t;
    while (next_token(&w, &t)) {
        if (is_one(&t, '*') || is_one(&t, '>')) {
            return true;
        }
    }
    return false;
}

bool subject_literal(const char *s, size_t len)
{
    return subject_valid(s, len) && !subject_has_wildcard(s, len);
}

bool subject_match(const char *s, size_t len, const char *filter, size_t filter_len)
{
    struct walk sw = {s, len, 0};
    struct walk fw = {filter, filter_len, 0};
    struct token st, ft;
    while (next_token(&fw, &ft)) {
        if (!next_token(&sw, &st)) {
            return false;
        }
        if (is_one(&ft, '>')) {
            return true;
        }
        if (!is_one(&ft, '*') && !same(&st, &ft)) {
            return false;
        }
    }
    return sw.at > sw.len;
}

bool subject_subset(const char *s, size_t len, const char *filter, size_t filter_len)
{
    struct walk sw = {s, len, 0};
    struct walk fw = {filter, filter_len, 0};
    struct token st, ft;
    while (next_token(&fw, &ft)) {
        if (!next_token(&sw, &st)) {
            return false;
        }
        if (is_one(&ft, '>')) {
            return true; /* `>` in s too: at least one token on both sides */
        }
        if (is_one(&st, '>')) {
            return false; /* s has matches that are longer than filter's */
        }
        if (is_one(&ft, '*')) {
            continue;
        }
        if (is_one(&st, '*') || !same(&st, &ft)) {
            return false;
        }
    }
    return sw.at > sw.len;
}

bool subject_overlap(const char *a, size_t a_len, const char *b, size_t b_len)
{
    struct walk aw = {a, a_len, 0};
    struct walk bw = {b, b_len, 0};
    struct token at, bt;
    for (;;) {
        bool a_more = next_token(&aw, &at);
        bool b_more = next_token(&bw, &bt);
        if (!a_more || !b_more) {
            return a_more == b_more;
        }
        if (is_one(&at, '>') || is_one(&bt, '>')) {
            return true;
        }
        if (!is_one(&at, '*') && !is_one(&bt, '*') && !same(&at, &bt)) {
            return false;
        }
    }
}

size_t subject_tokens(const char *s, size_t len)
{
    size_t n = len == 0 ? 0 : 1;
    for (size_t i = 0; i < len; i++) {
        n += s[i] == '.';
    }
    return n;
}

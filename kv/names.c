/* Names and entries: what a bucket, a key, a filter may be called, and how a stored message is an
 * entry. The rules are the clients' (ADR-6, ADR-8). Pure. */
#include "kv/kv_int.h"

#include "engine/base/limits.h"
#include "engine/base/subject.h"
#include "engine/msg_header.h"

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool kv_bucket_valid(const char *bucket)
{
    size_t n = 0;
    for (; bucket[n] != 0; n++) {
        if (!alnum(bucket[n]) && bucket[n] != '-' && bucket[n] != '_') {
            return false;
        }
    }
    return n > 0 && n <= KV_BUCKET_BYTES_MAX;
}

static bool all_of(const char *s, const char *also)
{
    for (; *s != 0; s++) {
        if (!alnum(*s) && strchr(also, *s) == NULL) {
            return false;
        }
    }
    return true;
}

bool kv_key_valid(const char *key)
{
    return all_of(key, "-/_=.") && subject_literal(key, strlen(key));
}

/* A '*' counts as a wildcard where it is a whole token; inside one, as in subjects, it would be an
 * ordinary character, which no key has. */
bool kv_filter_valid(const char *filter)
{
    size_t n = strlen(filter);
    if (!all_of(filter, "-/_=.*>") || !subject_valid(filter, n)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool starts = i == 0 || filter[i - 1] == '.';
        bool ends = i + 1 == n || filter[i + 1] == '.';
        if ((filter[i] == '*' || filter[i] == '>') && !(starts && ends)) {
            return false;
        }
    }
    return true;
}

enum st kv_check_key(const char *key, struct err *err)
{
    if (!kv_key_valid(key)) {
        return err_set(err, ST_INVALID, 0, "invalid key \"%.128s\"", key);
    }
    return ST_OK;
}

enum st kv_subject(const struct kv *kv, const char *rest, char **subject_out, size_t *len_out,
                   struct err *err)
{
    size_t n = strlen(rest);
    *subject_out = NULL;
    if (n > LIM_SUBJECT_BYTES_MAX - kv->prefix_len) {
        return err_set(err, ST_TOOBIG, 0, "a key of %zu bytes is too long", n);
    }
    if (subject_tokens(rest, n) > LIM_SUBJECT_TOKENS_MAX - 2) {
        return err_set(err, ST_TOOBIG, 0, "a key of %zu tokens is too deep",
                       subject_tokens(rest, n));
    }
    char *s = base_malloc(kv->prefix_len + n + 1);
    memcpy(s, kv->prefix, kv->prefix_len);
    memcpy(s + kv->prefix_len, rest, n + 1);
    *subject_out = s;
    *len_out = kv->prefix_len + n;
    return ST_OK;
}

static bool value_is(const struct msg *m, const char *name, const char *value)
{
    size_t n;
    const char *v = m->hdr != NULL ? msg_header_get(m->hdr, m->hdr_len, name, &n) : NULL;
    return v != NULL && n == strlen(value) && memcmp(v, value, n) == 0;
}

/* What clients wrote stands in KV-Operation; the server's own markers say why they are there. */
static enum kv_op read_op(const struct msg *m)
{
    if (value_is(m, "KV-Operation", "DEL") || value_is(m, "Nats-Marker-Reason", "Remove")) {
        return KV_DELETE;
    }
    if (value_is(m, "KV-Operation", "PURGE") || value_is(m, "Nats-Marker-Reason", "MaxAge") ||
        value_is(m, "Nats-Marker-Reason", "Purge")) {
        return KV_PURGE;
    }
    return KV_PUT;
}

bool kv_entry_read(const struct kv *kv, const struct msg *m, struct kv_entry *e)
{
    if (m->subj_len <= kv->prefix_len || memcmp(m->subj, kv->prefix, kv->prefix_len) != 0) {
        return false;
    }
    *e = (struct kv_entry){.key = (const char *)m->subj + kv->prefix_len,
                           .key_len = m->subj_len - kv->prefix_len,
                           .value = m->data,
                           .value_len = m->data_len,
                           .revision = m->seq,
                           .created_ns = m->ts_ns,
                           .op = read_op(m)};
    return true;
}

bool kv_entry_take(const struct kv *kv, const struct msg *m, struct kv_entry *e, char **key_buf)
{
    if (!kv_entry_read(kv, m, e)) {
        return false;
    }
    *key_buf = base_realloc(*key_buf, e->key_len + 1);
    memcpy(*key_buf, e->key, e->key_len);
    (*key_buf)[e->key_len] = 0;
    e->key = *key_buf;
    return true;
}

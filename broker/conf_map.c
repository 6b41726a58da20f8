/* Walks the tree block by block: looks each key up in the table, sets plain values by their offset,
 * and hands keys of their own kind to a function of their block. Nothing stops at the first error.
 */
#include "broker/conf_map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "broker/conf_keys.h"
#include "engine/base/base.h"

#define KEYS_MAX 192 /* lines in the table of keys, with room */

struct map {
    struct brk_opts *o;
    struct brk_conf_notes *notes;
    /* where a block being walked puts its values */
    struct brk_user_opt *user;        /* BRK_KEYS_USER */
    size_t account;                   /* index; BRK_KEYS_ACCOUNT, BRK_KEYS_ACCOUNT_JS */
    const char *users_account;        /* whose users an array of users holds */
    struct brk_conf_pos store_dir_at; /* file is NULL while no store_dir was seen */
    bool js_block_enabled;
};

/* --- notes ------------------------------------------------------------------------------------ */

static void add_line(struct brk_conf_lines *l, const char *text)
{
    l->lines = base_realloc(l->lines, (l->count + 1) * sizeof *l->lines);
    l->lines[l->count++] = base_strdup(text);
}

static void lines_fini(struct brk_conf_lines *l)
{
    for (size_t i = 0; i < l->count; i++) {
        base_free(l->lines[i]);
    }
    base_free(l->lines);
    *l = (struct brk_conf_lines){0};
}

void brk_conf_notes_fini(struct brk_conf_notes *n)
{
    lines_fini(&n->errors);
    lines_fini(&n->warnings);
    lines_fini(&n->not_served);
}

static void note(struct brk_conf_lines *l, struct brk_conf_pos pos, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));
static void note(struct brk_conf_lines *l, struct brk_conf_pos pos, const char *fmt, va_list ap)
{
    char text[512], line[1024];
    if (l->count >= BRK_CONF_ERRORS_MAX) {
        return;
    }
    vsnprintf(text, sizeof text, fmt, ap);
    snprintf(line, sizeof line, "%s:%u:%u: %s", pos.file, pos.line, pos.column, text);
    add_line(l, line);
}

static void error_at(struct map *m, struct brk_conf_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void error_at(struct map *m, struct brk_conf_pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note(&m->notes->errors, pos, fmt, ap);
    va_end(ap);
}

static void warn_at(struct map *m, struct brk_conf_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void warn_at(struct map *m, struct brk_conf_pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note(&m->notes->warnings, pos, fmt, ap);
    va_end(ap);
}

static void note_not_served(struct map *m, const struct brk_conf_entry *e, const struct brk_key *k)
{
    char line[512];
    if (m->notes->not_served.count < BRK_CONF_ERRORS_MAX) {
        snprintf(line, sizeof line, "\"%.64s\" at %.200s:%u:%u (%s)", e->key, e->pos.file,
                 e->pos.line, e->pos.column, k->note);
        add_line(&m->notes->not_served, line);
    }
}

/* --- plain values ----------------------------------------------------------------------------- */

/* True when the value is of this kind; says so when not. */
static bool want(struct map *m, const struct brk_conf_entry *e, enum brk_conf_kind kind)
{
    if (e->value->kind == kind) {
        return true;
    }
    bool quote = kind == BRK_CONF_STRING && e->value->text != NULL;
    error_at(m, e->value->pos, "\"%.64s\" must be %s, not %s%s", e->key, brk_conf_kind_text(kind),
             brk_conf_kind_text(e->value->kind), quote ? "; put it in quotes" : "");
    return false;
}

static bool want_string(struct map *m, const struct brk_conf_entry *e, char **slot)
{
    if (!want(m, e, BRK_CONF_STRING)) {
        return false;
    }
    brk_opts_set_str(slot, e->value->text);
    return true;
}

static bool want_range(struct map *m, const struct brk_conf_entry *e, int64_t min, int64_t max,
                       int64_t *slot)
{
    if (!want(m, e, BRK_CONF_INT)) {
        return false;
    }
    if (e->value->u.i < min) {
        error_at(m, e->value->pos, "\"%.64s\" cannot be below %lld", e->key, (long long)min);
    } else if (e->value->u.i > max) {
        error_at(m, e->value->pos, "%.64s value is too big", e->key);
    } else {
        *slot = e->value->u.i;
        return true;
    }
    return false;
}

/* A duration in ns, as a string, or an integer of seconds (old files have those). */
static bool want_duration(struct map *m, const struct brk_conf_entry *e, int64_t *slot)
{
    struct err err = {0};
    int64_t ns = 0;
    if (e->value->kind == BRK_CONF_INT) {
        warn_at(m, e->value->pos, "%.64s should be converted to a duration", e->key);
        if (__builtin_mul_overflow(e->value->u.i, NS_PER_S, &ns)) {
            error_at(m, e->value->pos, "%.64s value is too big", e->key);
            return false;
        }
    } else if (e->value->kind != BRK_CONF_STRING) {
        error_at(m, e->value->pos, "\"%.64s\" must be a duration such as \"2m\", not %s", e->key,
                 brk_conf_kind_text(e->value->kind));
        return false;
    } else if (brk_conf_duration(e->value->text, &ns, &err) != ST_OK) {
        error_at(m, e->value->pos, "error parsing %.64s: %s", e->key, err.msg);
        return false;
    }
    if (ns < 0) {
        error_at(m, e->value->pos, "\"%.64s\" cannot be negative", e->key);
        return false;
    }
    *slot = ns;
    return true;
}

/* -1 or bytes: an integer, or a string that ends in K, M, G or T (with an optional B, I or IB),
 * powers of 1024. */
static void want_size(struct map *m, const struct brk_conf_entry *e, int64_t *slot)
{
    if (e->value->kind != BRK_CONF_STRING) {
        want_range(m, e, -1, INT64_MAX, slot);
        return;
    }
    static const char letters[] = "kmgt";
    const char *s = e->value->text;
    char *end = NULL;
    long long n = strtoll(s, &end, 10);
    const char *l = *end == '\0' ? NULL : strchr(letters, *end | 0x20);
    bool tail = l != NULL && (end[1] == '\0' || strcasecmp(end + 1, "b") == 0 ||
                              strcasecmp(end + 1, "i") == 0 || strcasecmp(end + 1, "ib") == 0);
    int64_t bytes = 0;
    if (end == s || !tail || n < 0) {
        error_at(m, e->value->pos, "%.64s sizes defined as strings must end in K, M, G, T", e->key);
    } else if (__builtin_mul_overflow((int64_t)n, (int64_t)1 << (10 * (l - letters + 1)), &bytes)) {
        error_at(m, e->value->pos, "%.64s value is too big", e->key);
    } else {
        *slot = bytes;
    }
}

static void set_port(struct map *m, const struct brk_conf_entry *e, int *slot)
{
    int64_t port = 0;
    if (want_range(m, e, -1, 65535, &port)) {
        *slot = (int)port;
    }
}

static void set_name(struct map *m, const struct brk_conf_entry *e, char **slot)
{
    if (want(m, e, BRK_CONF_STRING) && strpbrk(e->value->text, " \t\r\n") != NULL) {
        error_at(m, e->value->pos, "%.64s cannot contain spaces",
                 strcasecmp(e->key, "server_name") == 0 ? "server name" : e->key);
    } else if (e->value->kind == BRK_CONF_STRING) {
        brk_opts_set_str(slot, e->value->text[0] == '\0' ? NULL : e->value->text);
    }
}

static void set_plain(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    void *slot = (char *)m->o + k->offset;
    switch (k->kind) {
    case BRK_KEY_STRING:
        want_string(m, e, slot);
        return;
    case BRK_KEY_NAME:
        set_name(m, e, slot);
        return;
    case BRK_KEY_BOOL:
        if (want(m, e, BRK_CONF_BOOL)) {
            *(bool *)slot = e->value->u.b;
        }
        return;
    case BRK_KEY_INT:
        want_range(m, e, INT64_MIN, INT64_MAX, slot);
        return;
    case BRK_KEY_COUNT:
        want_range(m, e, 0, INT64_MAX, slot);
        return;
    case BRK_KEY_INT31:
        want_range(m, e, 0, INT32_MAX, slot);
        return;
    case BRK_KEY_PORT:
        set_port(m, e, slot);
        return;
    case BRK_KEY_SIZE:
        want_size(m, e, slot);
        return;
    case BRK_KEY_DURATION:
        want_duration(m, e, slot);
        return;
    case BRK_KEY_NONE:
    case BRK_KEY_GROUP:
    case BRK_KEY_LIST:
    case BRK_KEY_CUSTOM:
        break;
    }
    ASSERT_NEVER("a key of this kind has no plain value");
}

/* --- walking a block -------------------------------------------------------------------------- */

static void set_custom(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e);

/* `proxy_protocol: false`, `leafnodes {}`: a feature that is not served is not wanted either. */
static bool asks_nothing(const struct brk_key *k, const struct brk_conf_value *v)
{
    return (v->kind == BRK_CONF_BOOL && !v->u.b) ||
           (v->kind == BRK_CONF_MAP && k->kind == BRK_KEY_GROUP && v->entries_count == 0) ||
           (v->kind == BRK_CONF_ARRAY && k->kind == BRK_KEY_LIST && v->entries_count == 0);
}

static void apply(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    if (k->status == BRK_KEY_WARNED) {
        note_not_served(m, e, k);
    } else if (k->status == BRK_KEY_REFUSED && !asks_nothing(k, e->value)) {
        error_at(m, e->pos, "\"%.64s\" is not served yet; remove it to %s", e->key, k->note);
    } else if (k->status == BRK_KEY_SERVED && k->kind == BRK_KEY_CUSTOM) {
        set_custom(m, k, e);
    } else if (k->status == BRK_KEY_SERVED) {
        set_plain(m, k, e);
    }
}

/* Applies every entry of a block; unknown keys are errors; of equal keys the last counts. */
static void walk(struct map *m, enum brk_key_block block, const struct brk_conf_value *v)
{
    size_t count = 0;
    size_t last[KEYS_MAX] = {0}; /* 1 + index of the last entry of each key */
    const struct brk_key *table = brk_key_table(&count);
    ASSERT(count <= KEYS_MAX);
    for (size_t i = 0; i < v->entries_count; i++) {
        const struct brk_key *k = brk_key_find(block, v->entries[i].key);
        if (k != NULL) {
            last[k - table] = i + 1;
        }
    }
    for (size_t i = 0; i < v->entries_count; i++) {
        const struct brk_key *k = brk_key_find(block, v->entries[i].key);
        if (k != NULL && last[k - table] == i + 1) {
            apply(m, k, &v->entries[i]);
        } else if (k == NULL && !v->entries[i].used_as_variable) {
            error_at(m, v->entries[i].pos, "unknown field \"%.64s\"", v->entries[i].key);
        }
    }
}

/* --- listen, http ----------------------------------------------------------------------------- */

enum st brk_parse_hostport(const char *text, char **host_out, int *port_out, struct err *err)
{
    *host_out = NULL;
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
    if (colon == NULL && strspn(text, "-0123456789") != strlen(text)) {
        return err_set(err, ST_INVALID, 0, "could not parse address string \"%.64s\"", text);
    }
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len) != NULL) {
        return err_set(err, ST_INVALID, 0, "could not parse address string \"%.64s\"", text);
    }
    const char *port_text = colon == NULL ? text : colon + 1;
    char *end = NULL;
    long port = strtol(port_text, &end, 10);
    if (end == port_text || *end != '\0' || port < -1 || port > 65535) {
        return err_set(err, ST_INVALID, 0, "could not parse port \"%.32s\"", port_text);
    }
    *port_out = (int)port;
    if (host_len > 0) {
        *host_out = base_strndup(host, host_len);
    }
    return ST_OK;
}

static void set_address(struct map *m, const struct brk_conf_entry *e, char **host, int *port)
{
    struct err err = {0};
    char *parsed = NULL;
    if (e->value->kind == BRK_CONF_INT) {
        set_port(m, e, port);
    } else if (e->value->kind != BRK_CONF_STRING) {
        error_at(m, e->value->pos, "\"%.64s\" must be a port or \"host:port\", not %s", e->key,
                 brk_conf_kind_text(e->value->kind));
    } else if (brk_parse_hostport(e->value->text, &parsed, port, &err) != ST_OK) {
        error_at(m, e->value->pos, "%s", err.msg);
    } else if (parsed != NULL) {
        brk_opts_set_str(host, parsed);
    }
    base_free(parsed);
}

/* --- users, accounts -------------------------------------------------------------------------- */

static void add_user(struct map *m, const struct brk_conf_value *v)
{
    struct brk_user_opt u = {0};
    if (v->kind != BRK_CONF_MAP) {
        error_at(m, v->pos, "expected a user entry to be a block, got %s",
                 brk_conf_kind_text(v->kind));
        return;
    }
    size_t errors = m->notes->errors.count;
    m->user = &u;
    walk(m, BRK_KEYS_USER, v);
    m->user = NULL;
    if (m->notes->errors.count != errors) {
        /* one error for one user is enough */
    } else if (u.user == NULL || u.user[0] == '\0') {
        error_at(m, v->pos, "User entry requires a user");
    } else if (brk_opts_user(m->o, u.user) != NULL) {
        error_at(m, v->pos, "Duplicate user \"%.64s\" detected", u.user);
    } else {
        brk_opts_add_user(m->o, u.user, u.pass == NULL ? "" : u.pass, m->users_account);
    }
    base_free(u.user);
    base_free(u.pass);
}

static void add_users(struct map *m, const struct brk_conf_entry *e, const char *account)
{
    if (!want(m, e, BRK_CONF_ARRAY)) {
        return;
    }
    m->users_account = account;
    for (size_t i = 0; i < e->value->entries_count; i++) {
        add_user(m, e->value->entries[i].value);
    }
}

static void set_authorization(struct map *m, const struct brk_conf_entry *e)
{
    size_t before = m->o->users_count;
    if (!want(m, e, BRK_CONF_MAP)) {
        return;
    }
    walk(m, BRK_KEYS_AUTH, e->value);
    bool single = m->o->user != NULL || m->o->pass != NULL;
    if (single && m->o->token != NULL) {
        error_at(m, e->pos, "Cannot have a user/pass and token");
    }
    if (single && m->o->users_count > before) {
        error_at(m, e->pos, "Can not have a single user/pass and a users array");
    }
    if (m->o->token != NULL && m->o->users_count > before) {
        error_at(m, e->pos, "Can not have a token and a users array");
    }
    if (m->o->user == NULL && m->o->pass != NULL) {
        error_at(m, e->pos, "\"password\" stands without \"user\"");
    }
}

/* Seconds as a number, or a duration. */
static void set_auth_timeout(struct map *m, const struct brk_conf_entry *e)
{
    const struct brk_conf_value *v = e->value;
    if (v->kind == BRK_CONF_STRING) {
        want_duration(m, e, &m->o->auth_timeout_ns);
    } else if (v->kind != BRK_CONF_INT && v->kind != BRK_CONF_FLOAT) {
        error_at(m, v->pos, "\"timeout\" must be seconds or a duration, not %s",
                 brk_conf_kind_text(v->kind));
    } else {
        double s = v->kind == BRK_CONF_INT ? (double)v->u.i : v->u.f;
        if (s < 0 || s > 1e9) {
            error_at(m, v->pos, "\"timeout\" must lie between 0 and 1000000000 seconds");
        } else {
            m->o->auth_timeout_ns = (int64_t)(s * (double)NS_PER_S);
        }
    }
}

static void add_account(struct map *m, const char *name, struct brk_conf_pos pos,
                        const struct brk_conf_value *block)
{
    if (strcmp(name, BRK_ACC_GLOBAL) == 0) {
        error_at(m, pos, "\"%s\" is a Reserved Account", name);
        return;
    }
    if (brk_opts_account(m->o, name) != NULL) {
        error_at(m, pos, "Duplicate Account Entry: %.64s", name);
        return;
    }
    brk_opts_add_account(m->o, name);
    m->account = m->o->accounts_count - 1;
    if (block != NULL) {
        walk(m, BRK_KEYS_ACCOUNT, block);
    }
}

/* A block of accounts, or an array of names. */
static void set_accounts(struct map *m, const struct brk_conf_entry *e)
{
    const struct brk_conf_value *v = e->value;
    if (v->kind != BRK_CONF_MAP && v->kind != BRK_CONF_ARRAY) {
        error_at(m, v->pos, "\"accounts\" must be a block or an array of names, not %s",
                 brk_conf_kind_text(v->kind));
        return;
    }
    for (size_t i = 0; i < v->entries_count; i++) {
        const struct brk_conf_entry *a = &v->entries[i];
        if (v->kind == BRK_CONF_ARRAY && a->value->kind == BRK_CONF_STRING) {
            add_account(m, a->value->text, a->pos, NULL);
        } else if (v->kind == BRK_CONF_ARRAY) {
            error_at(m, a->pos, "expected the name of an account, got %s",
                     brk_conf_kind_text(a->value->kind));
        } else if (a->value->kind == BRK_CONF_MAP) {
            add_account(m, a->key, a->pos, a->value);
        } else if (!a->used_as_variable) {
            error_at(m, a->pos, "Expected map entries for accounts");
        }
    }
}

/* --- JetStream -------------------------------------------------------------------------------- */

/* Reads `jetstream: true | enabled | { ... }` into *on; walks the block with `block`. */
static void set_switch(struct map *m, const struct brk_conf_entry *e, enum brk_key_block block,
                       bool *on)
{
    const struct brk_conf_value *v = e->value;
    switch (v->kind) {
    case BRK_CONF_BOOL:
        *on = v->u.b;
        return;
    case BRK_CONF_STRING:
        if (strcasecmp(v->text, "enabled") == 0 || strcasecmp(v->text, "enable") == 0) {
            *on = true;
        } else if (strcasecmp(v->text, "disabled") == 0 || strcasecmp(v->text, "disable") == 0) {
            *on = false;
        } else {
            error_at(m, v->pos, "Expected 'enabled' or 'disabled' for string value, got '%.64s'",
                     v->text);
        }
        return;
    case BRK_CONF_MAP:
        m->js_block_enabled = true;
        walk(m, block, v);
        *on = m->js_block_enabled;
        return;
    case BRK_CONF_INT:
    case BRK_CONF_FLOAT:
    case BRK_CONF_DATE:
    case BRK_CONF_ARRAY:
        break;
    }
    error_at(m, v->pos, "Expected map, bool or string to define JetStream, got %s",
             brk_conf_kind_text(v->kind));
}

static void set_enabled(struct map *m, const struct brk_conf_entry *e, bool value_when_true)
{
    if (want(m, e, BRK_CONF_BOOL)) {
        m->js_block_enabled = e->value->u.b == value_when_true;
    }
}

static void set_store_dir(struct map *m, const struct brk_conf_entry *e)
{
    if (m->store_dir_at.file != NULL) {
        error_at(m, e->pos, "Duplicate 'store_dir' configuration");
        return;
    }
    m->store_dir_at = e->pos;
    want_string(m, e, &m->o->js.store_dir);
}

/* "always": durable. A duration: relaxed, synced on that timer. */
static void set_sync(struct map *m, const struct brk_conf_entry *e)
{
    int64_t ns = 0;
    if (e->value->kind == BRK_CONF_STRING && strcasecmp(e->value->text, "always") == 0) {
        m->o->js.sync_always = true;
        m->o->js.sync_interval_ns = 0;
    } else if (want_duration(m, e, &ns)) {
        if (ns == 0) {
            error_at(m, e->value->pos, "\"%.64s\" must be more than 0, or \"always\"", e->key);
            return;
        }
        m->o->js.sync_always = false;
        m->o->js.sync_interval_ns = ns;
    }
}

/* It becomes a token of subjects. */
static void set_domain(struct map *m, const struct brk_conf_entry *e)
{
    if (!want(m, e, BRK_CONF_STRING)) {
        return;
    }
    const char *name = e->value->text;
    const char *odd = strpbrk(name, " \t\n\f\r");
    if (odd != NULL || strcmp(name, ">") == 0) {
        error_at(m, e->value->pos,
                 "invalid domain name: derived \"$JS.%.200s.API.>\" is not a valid subject", name);
    } else if (strpbrk(name, ".*>") != NULL) {
        error_at(m, e->value->pos, "invalid domain name: may not contain ., * or >");
    } else if (strlen(name) > BRK_DOMAIN_MAX) {
        error_at(m, e->value->pos, "a domain name may have %d bytes", BRK_DOMAIN_MAX);
    } else {
        brk_opts_set_str(&m->o->js.domain, name[0] == '\0' ? NULL : name);
    }
}

static void set_limits(struct map *m, const struct brk_conf_entry *e)
{
    if (want(m, e, BRK_CONF_MAP)) {
        walk(m, BRK_KEYS_JS_LIMITS, e->value);
    }
}

/* 0 (also without a unit) or up to BRK_BUSY_POLL_NS_MAX. */
static void set_busy_poll(struct map *m, const struct brk_conf_entry *e)
{
    int64_t ns = 0;
    bool off = e->value->kind == BRK_CONF_INT && e->value->u.i == 0;
    if (!off && !want_duration(m, e, &ns)) {
        return;
    }
    if (ns > BRK_BUSY_POLL_NS_MAX) {
        error_at(m, e->value->pos, "\"%.64s\" cannot be above 1ms", e->key);
        return;
    }
    m->o->busy_poll_ns = ns;
}

/* --- keys of their own kind ------------------------------------------------------------------- */

static bool is_key(const struct brk_key *k, const char *first)
{
    size_t n = strlen(first);
    return strncmp(k->names, first, n) == 0 && (k->names[n] == '|' || k->names[n] == '\0');
}

static void custom_top(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    if (is_key(k, "listen")) {
        set_address(m, e, &m->o->host, &m->o->port);
    } else if (is_key(k, "http")) {
        set_address(m, e, &m->o->http_host, &m->o->http_port);
    } else if (is_key(k, "trace_verbose")) {
        if (want(m, e, BRK_CONF_BOOL)) {
            m->o->trace_verbose = e->value->u.b;
            m->o->trace = m->o->trace || e->value->u.b;
        }
    } else if (is_key(k, "busy_poll")) {
        set_busy_poll(m, e);
    } else if (is_key(k, "authorization")) {
        set_authorization(m, e);
    } else if (is_key(k, "accounts")) {
        set_accounts(m, e);
    } else if (is_key(k, "store_dir")) {
        set_store_dir(m, e);
    } else if (is_key(k, "feature_flags")) {
        if (want(m, e, BRK_CONF_MAP)) {
            walk(m, BRK_KEYS_FEATURES, e->value);
        }
    } else {
        ASSERT(is_key(k, "jetstream"));
        set_switch(m, e, BRK_KEYS_JS, &m->o->js.enabled);
    }
}

static void custom_auth(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    if (is_key(k, "user")) {
        want_string(m, e, &m->o->user);
    } else if (is_key(k, "password")) {
        want_string(m, e, &m->o->pass);
    } else if (is_key(k, "token")) {
        want_string(m, e, &m->o->token);
    } else if (is_key(k, "timeout")) {
        set_auth_timeout(m, e);
    } else {
        ASSERT(is_key(k, "users"));
        add_users(m, e, BRK_ACC_GLOBAL);
    }
}

static void custom_account(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    if (is_key(k, "users")) {
        char *name = base_strdup(m->o->accounts[m->account].name);
        add_users(m, e, name);
        m->users_account = NULL;
        base_free(name);
    } else {
        ASSERT(is_key(k, "jetstream"));
        set_switch(m, e, BRK_KEYS_ACCOUNT_JS, &m->o->accounts[m->account].jetstream);
    }
}

static void custom_account_js(struct map *m, const struct brk_key *k,
                              const struct brk_conf_entry *e)
{
    struct brk_js_account_limits *l = &m->o->accounts[m->account].limits;
    if (is_key(k, "enabled") || is_key(k, "disabled")) {
        set_enabled(m, e, is_key(k, "enabled"));
    } else if (is_key(k, "max_memory")) {
        want_size(m, e, &l->max_memory);
    } else if (is_key(k, "max_store")) {
        want_size(m, e, &l->max_store);
    } else if (is_key(k, "max_streams")) {
        want_range(m, e, -1, INT64_MAX, &l->max_streams);
    } else if (is_key(k, "max_consumers")) {
        want_range(m, e, -1, INT64_MAX, &l->max_consumers);
    } else if (is_key(k, "max_ack_pending")) {
        want_range(m, e, -1, INT64_MAX, &l->max_ack_pending);
    } else if (is_key(k, "mem_max_stream_bytes")) {
        want_size(m, e, &l->memory_max_stream_bytes);
    } else if (is_key(k, "disk_max_stream_bytes")) {
        want_size(m, e, &l->store_max_stream_bytes);
    } else {
        ASSERT(is_key(k, "max_bytes_required"));
        if (want(m, e, BRK_CONF_BOOL)) {
            l->max_bytes_required = e->value->u.b;
        }
    }
}

static void custom_js(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    if (is_key(k, "enabled") || is_key(k, "disabled")) {
        set_enabled(m, e, is_key(k, "enabled"));
    } else if (is_key(k, "store_dir")) {
        set_store_dir(m, e);
    } else if (is_key(k, "sync_interval")) {
        set_sync(m, e);
    } else if (is_key(k, "domain")) {
        set_domain(m, e);
    } else {
        ASSERT(is_key(k, "limits"));
        set_limits(m, e);
    }
}

static void set_custom(struct map *m, const struct brk_key *k, const struct brk_conf_entry *e)
{
    switch (k->block) {
    case BRK_KEYS_TOP:
        custom_top(m, k, e);
        return;
    case BRK_KEYS_AUTH:
        custom_auth(m, k, e);
        return;
    case BRK_KEYS_USER:
        want_string(m, e, is_key(k, "user") ? &m->user->user : &m->user->pass);
        return;
    case BRK_KEYS_ACCOUNT:
        custom_account(m, k, e);
        return;
    case BRK_KEYS_ACCOUNT_JS:
        custom_account_js(m, k, e);
        return;
    case BRK_KEYS_JS:
        custom_js(m, k, e);
        return;
    case BRK_KEYS_JS_LIMITS:
    case BRK_KEYS_FEATURES:
    case BRK_KEYS_BLOCKS:
        break;
    }
    ASSERT_NEVER("this block has no keys of their own kind");
}

enum st brk_conf_apply(const struct brk_conf *conf, struct brk_opts *opts,
                       struct brk_conf_notes *notes)
{
    struct map m = {.o = opts, .notes = notes};
    const struct brk_conf_value *root = brk_conf_root(conf);
    if (root->entries_count == 0) {
        notes->empty = true;
        warn_at(&m, root->pos, "config has no values or is empty");
    }
    walk(&m, BRK_KEYS_TOP, root);
    brk_opts_baseline(opts);
    return notes->errors.count == 0 ? ST_OK : ST_INVALID;
}

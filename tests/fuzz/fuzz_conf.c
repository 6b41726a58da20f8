/* Fuzz target: the config language and its mapping onto options. The first byte says how the input
 * splits into the file and what an `include` of any name and any environment variable yield. Must
 * hold: no crash, an error has text, every key and value has a place, a good file applies without
 * reading wild memory. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "broker/conf_map.h"
#include "engine/base/base.h"

struct input {
    const uint8_t *include;
    size_t include_len;
    char *env; /* owned */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum st read_input(void *arg, const char *path, char **text_out, size_t *len_out,
                          struct err *err)
{
    const struct input *in = arg;
    if (path[0] == '\0') {
        return err_set(err, ST_NOTFOUND, 0, "no such file");
    }
    *text_out = base_malloc(in->include_len + 1);
    memcpy(*text_out, in->include, in->include_len);
    *len_out = in->include_len;
    return ST_OK;
}

static const char *get_input(void *arg, const char *name)
{
    const struct input *in = arg;
    return name[0] == 'E' ? in->env : NULL;
}

static void walk(const struct brk_conf_value *v, unsigned depth)
{
    if (depth > BRK_CONF_DEPTH_MAX || v->pos.line == 0 || v->pos.column == 0 ||
        v->pos.file == NULL) {
        abort();
    }
    for (size_t i = 0; i < v->entries_count && i < 3;
         i++) { /* shared values: a full walk may be exponential */
        walk(v->entries[i].value, depth + 1);
        if (depth > 8) {
            break;
        }
    }
}

/* What a start asks of options that were taken. */
static void ask(const struct brk_opts *o)
{
    (void)brk_opts_auth_required(o);
    for (size_t i = 0; i < o->accounts_count; i++) {
        bool js = brk_opts_account_jetstream(o, o->accounts[i].name);
        if (js && strcmp(o->accounts[i].name, brk_opts_system_account(o)) == 0) {
            abort();
        }
        (void)brk_opts_account_limits(o, o->accounts[i].name);
    }
    for (size_t i = 0; i < o->users_count; i++) {
        (void)brk_pass_is_bcrypt(o->users[i].pass);
    }
    (void)brk_opts_account_jetstream(o, BRK_ACC_GLOBAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t part = (size_t)data[0] * (size - 1) / 512; /* up to half of the rest is the include */
    struct input in = {.include = data + 1, .include_len = part};
    in.env = base_strndup((const char *)data + 1, strnlen((const char *)data + 1, part));
    struct brk_conf_source src = {.read = read_input, .getenv = get_input, .arg = &in};
    struct brk_conf *c = NULL;
    struct err err = {0};
    if (brk_conf_parse_text(&src, "fuzz.conf", (const char *)data + 1 + part, size - 1 - part, &c,
                            &err) == ST_OK) {
        struct brk_opts o;
        struct brk_conf_notes notes = {0};
        brk_opts_init(&o);
        walk(brk_conf_root(c), 0);
        base_free(brk_conf_json(c, 64 * KIB));
        if (brk_conf_apply(c, &o, &notes) == ST_OK) {
            if (brk_opts_check(&o, &err) == ST_OK) {
                ask(&o);
            }
        } else if (notes.errors.count == 0) {
            abort();
        }
        brk_conf_notes_fini(&notes);
        brk_opts_fini(&o);
        brk_conf_destroy(c);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    base_free(in.env);
    return 0;
}

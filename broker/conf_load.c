/* The parser's window to the world: files and environment variables come from env. */
#include "broker/conf_load.h"

#include <stdio.h>

#include "engine/base/base.h"

static enum st read_file(void *arg, const char *path, char **text_out, size_t *len_out,
                         struct err *err)
{
    uint8_t *buf = NULL;
    enum st st = env_read_file(arg, path, BRK_CONF_BYTES_MAX, &buf, len_out, err);
    *text_out = (char *)buf;
    return st;
}

static const char *get_variable(void *arg, const char *name)
{
    return env_getenv(arg, name);
}

enum st brk_conf_load(struct env *env, const char *path, struct brk_opts *opts,
                      struct brk_conf_notes *notes)
{
    struct brk_conf_source src = {.read = read_file, .getenv = get_variable, .arg = env};
    struct brk_conf *conf = NULL;
    struct err err = {0};
    enum st st = brk_conf_parse_file(&src, path, &conf, &err);
    if (st != ST_OK) {
        notes->errors.lines = base_malloc(sizeof *notes->errors.lines);
        notes->errors.lines[0] = base_strdup(err.msg);
        notes->errors.count = 1;
        return st;
    }
    st = brk_conf_apply(conf, opts, notes);
    brk_conf_destroy(conf);
    return st;
}

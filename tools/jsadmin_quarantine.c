/* jsadmin quarantine: what was set aside as damaged or unknown; --empty removes it. */
#include "tools/jsadmin.h"

#include <time.h>

struct list {
    struct ja_ctx *x;
    struct table table;
    uint64_t files, bytes;
};

static void on_file(void *arg, const char *name, uint64_t bytes, int64_t since_ns)
{
    struct list *l = arg;
    char when[40] = "-", size[40];
    struct tm tm;
    time_t t = (time_t)(since_ns / NS_PER_S);
    l->files++;
    l->bytes += bytes;
    if (since_ns != INT64_MAX && gmtime_r(&t, &tm) != NULL) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    if (l->x->json) {
        json_out_begin(&l->x->out);
        json_out_str(&l->x->out, "name", name);
        json_out_u64(&l->x->out, "bytes", bytes);
        json_out_str(&l->x->out, "set_aside", when);
        json_out_end(&l->x->out);
        return;
    }
    const char *row[] = {name, ja_bytes(bytes, size, sizeof size), when};
    table_row(&l->table, row);
}

int ja_quarantine(struct ja_ctx *x)
{
    static const char *const head[] = {"File", "Size", "Set aside"};
    struct list l = {.x = x};
    struct err err = {0};
    char b[40], c[40];
    table_init(&l.table, x->empty ? "Removed" : "Quarantine", head, ARRAY_LEN(head),
               ARRAY_LEN(head));
    if (x->json) {
        json_out_array(&x->out, "files");
    }
    enum st st = eng_quarantine(x->store, x->empty, on_file, &l, &err);
    if (x->json) {
        json_out_array_end(&x->out);
        json_out_u64(&x->out, "bytes", l.bytes);
        json_out_bool(&x->out, "removed", x->empty && st == ST_OK);
    } else if (st == ST_OK && l.files == 0) {
        printf("Nothing is in quarantine.\n");
    } else if (st == ST_OK) {
        table_print(&l.table, stdout);
        printf("\n%s, %s%s\n", ja_things(l.files, "file", b, sizeof b),
               ja_bytes(l.bytes, c, sizeof c), x->empty ? ", removed" : "");
    }
    table_fini(&l.table);
    if (st != ST_OK) {
        ja_complain(x, "quarantine", err.msg);
        return JA_FAILED;
    }
    return JA_OK;
}

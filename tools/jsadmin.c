/* jsadmin: looks after a stopped store, under its lock (engine/engine.h). `info DIR` tells what is
 * in it, `check DIR` verifies every checksum. Exit codes: 0 fine, 1 could not do it, 2 wrong usage,
 * 3 damage was found. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/json_out.h"
#include "engine/base/log.h"
#include "engine/engine.h"
#include "tools/table.h"

static const char usage_text[] =
    "usage: jsadmin [--json] <command> DIR\n"
    "\n"
    "Looks after the store of a server that is not running. DIR is the server's store directory "
    "(the\n"
    "folder that holds \"millrace\", printed by the server as Store Directory).\n"
    "\n"
    "  info DIR    streams, consumers, segments and journal\n"
    "  check DIR   verifies every checksum; exit code 3 when damage was found\n"
    "\n"
    "  --json      one JSON document instead of tables\n"
    "  -h, --help  this text\n"
    "\n"
    "Neither command changes a message. A damaged second copy of STORE or of the catalogue is "
    "written\n"
    "again from the good one, as at any start.\n";

struct ctx {
    struct store *store;
    bool json;
    struct json_out out;
    struct table findings;
    const char *dir;
};

/* --- text helpers ----------------------------------------------------------------------------- */

static const char *bytes_text(uint64_t n, char *buf, size_t len)
{
    static const char *unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < ARRAY_LEN(unit)) {
        v /= 1024;
        u++;
    }
    snprintf(buf, len, u == 0 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return buf;
}

static const char *count_text(uint64_t n, char *buf, size_t len)
{
    char digits[32];
    int nd = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t o = 0;
    for (int i = 0; i < nd && o + 2 < len; i++) {
        if (i > 0 && (nd - i) % 3 == 0) {
            buf[o++] = ',';
        }
        buf[o++] = digits[i];
    }
    buf[o] = 0;
    return buf;
}

static const char *durability_text(enum store_durability d)
{
    switch (d) {
    case DURABILITY_DURABLE:
        return "durable";
    case DURABILITY_RELAXED:
        return "relaxed";
    case DURABILITY_ASYNC:
        return "async";
    case DURABILITY_MEMORY:
        return "memory";
    }
    return "?";
}

/* --- info ------------------------------------------------------------------------------------- */

static void info_json_consumers(struct ctx *x, struct store_stream *s)
{
    const struct store_ops *ops = x->store->ops;
    json_out_array(&x->out, "consumers");
    for (struct store_cons *c = ops->cons_next_of(s, NULL); c != NULL;
         c = ops->cons_next_of(s, c)) {
        struct cons_state st;
        ops->cons_state(c, &st);
        json_out_begin(&x->out);
        json_out_str(&x->out, "name", ops->cons_cfg(c)->name);
        json_out_u64(&x->out, "delivered_stream_seq", st.delivered_sseq);
        json_out_u64(&x->out, "ack_floor_stream_seq", st.floor_sseq);
        json_out_u64(&x->out, "num_ack_pending", st.num_ack_pending);
        json_out_u64(&x->out, "num_redelivered", st.num_redelivered);
        json_out_u64(&x->out, "num_pending", st.num_pending);
        json_out_end(&x->out);
    }
    json_out_array_end(&x->out);
}

static void info_json(struct ctx *x, const struct eng_info *info)
{
    const struct store_ops *ops = x->store->ops;
    json_out_str(&x->out, "store", info->root);
    json_out_bool(&x->out, "clean_stop", info->clean);
    json_out_u64(&x->out, "generation", info->generation);
    json_out_u64(&x->out, "replayed_records", info->replayed_records);
    json_out_u64(&x->out, "torn_bytes", info->torn_bytes);
    json_out_array(&x->out, "streams");
    for (struct store_stream *s = ops->stream_next(x->store, NULL, NULL); s != NULL;
         s = ops->stream_next(x->store, NULL, s)) {
        struct stream_state st;
        uint64_t segs, seg_bytes, tail;
        ops->stream_state(s, &st);
        eng_stream_space(s, &segs, &seg_bytes, &tail);
        json_out_begin(&x->out);
        json_out_str(&x->out, "account", ops->stream_cfg(s)->account);
        json_out_str(&x->out, "name", ops->stream_cfg(s)->name);
        json_out_str(&x->out, "durability", durability_text(st.durability));
        json_out_u64(&x->out, "messages", st.msgs);
        json_out_u64(&x->out, "bytes", st.bytes);
        json_out_u64(&x->out, "first_seq", st.first_seq);
        json_out_u64(&x->out, "last_seq", st.last_seq);
        json_out_u64(&x->out, "subjects", st.nsubjects);
        json_out_u64(&x->out, "deleted", st.ndeleted);
        json_out_u64(&x->out, "damaged", st.damaged_msgs);
        json_out_u64(&x->out, "segments", segs);
        json_out_u64(&x->out, "segment_bytes", seg_bytes);
        json_out_u64(&x->out, "journal_messages", tail);
        info_json_consumers(x, s);
        json_out_end(&x->out);
    }
    json_out_array_end(&x->out);
}

static void info_streams_table(struct ctx *x)
{
    static const char *const head[] = {"Account",  "Stream",  "Acks",       "Messages",
                                       "Bytes",    "First",   "Last",       "Subjects",
                                       "Segments", "On disk", "In journal", "Damaged"};
    const struct store_ops *ops = x->store->ops;
    struct table t;
    table_init(&t, "Streams", head, ARRAY_LEN(head), 3);
    for (struct store_stream *s = ops->stream_next(x->store, NULL, NULL); s != NULL;
         s = ops->stream_next(x->store, NULL, s)) {
        struct stream_state st;
        uint64_t segs, seg_bytes, tail;
        char b[9][40];
        ops->stream_state(s, &st);
        eng_stream_space(s, &segs, &seg_bytes, &tail);
        const char *row[] = {
            ops->stream_cfg(s)->account,       ops->stream_cfg(s)->name,
            durability_text(st.durability),    count_text(st.msgs, b[0], 40),
            bytes_text(st.bytes, b[1], 40),    count_text(st.first_seq, b[2], 40),
            count_text(st.last_seq, b[3], 40), count_text(st.nsubjects, b[4], 40),
            count_text(segs, b[5], 40),        bytes_text(seg_bytes, b[6], 40),
            count_text(tail, b[7], 40),        count_text(st.damaged_msgs, b[8], 40)};
        table_row(&t, row);
    }
    table_print(&t, stdout);
    table_fini(&t);
}

static void info_consumers_table(struct ctx *x)
{
    static const char *const head[] = {"Account", "Stream",      "Consumer",
                                       "Kind",    "Delivered",   "Ack floor",
                                       "Unacked", "Redelivered", "Unprocessed"};
    const struct store_ops *ops = x->store->ops;
    struct table t;
    table_init(&t, "Consumers", head, ARRAY_LEN(head), 4);
    for (struct store_stream *s = ops->stream_next(x->store, NULL, NULL); s != NULL;
         s = ops->stream_next(x->store, NULL, s)) {
        for (struct store_cons *c = ops->cons_next_of(s, NULL); c != NULL;
             c = ops->cons_next_of(s, c)) {
            struct cons_state st;
            char b[5][40];
            const struct cons_cfg *cfg = ops->cons_cfg(c);
            ops->cons_state(c, &st);
            const char *row[] = {ops->stream_cfg(s)->account,
                                 ops->stream_cfg(s)->name,
                                 cfg->name,
                                 cfg->deliver_subject != NULL ? "push" : "pull",
                                 count_text(st.delivered_sseq, b[0], 40),
                                 count_text(st.floor_sseq, b[1], 40),
                                 count_text(st.num_ack_pending, b[2], 40),
                                 count_text(st.num_redelivered, b[3], 40),
                                 count_text(st.num_pending, b[4], 40)};
            table_row(&t, row);
        }
    }
    table_print(&t, stdout);
    table_fini(&t);
}

static int cmd_info(struct ctx *x)
{
    struct eng_info info;
    char b[40];
    eng_info_get(x->store, &info);
    if (x->json) {
        info_json(x, &info);
        return 0;
    }
    printf("Store         %s\n", info.root);
    printf("Last stop     %s\n", info.clean ? "clean" : "not clean (the journal was replayed)");
    printf("Catalogue     generation %llu\n", (unsigned long long)info.generation);
    printf("Journal       %s records replayed", count_text(info.replayed_records, b, sizeof b));
    printf(", %s torn at the end (never acknowledged)\n\n",
           bytes_text(info.torn_bytes, b, sizeof b));
    if (info.streams == 0) {
        printf("No streams.\n");
        return 0;
    }
    info_streams_table(x);
    if (info.consumers > 0) {
        printf("\n");
        info_consumers_table(x);
    }
    return info.damaged_streams > 0 ? 3 : 0;
}

/* --- check ------------------------------------------------------------------------------------ */

static void on_finding(void *arg, const char *object, const char *text, bool lost)
{
    struct ctx *x = arg;
    if (x->json) {
        json_out_begin(&x->out);
        json_out_str(&x->out, "object", object);
        json_out_str(&x->out, "text", text);
        json_out_bool(&x->out, "lost", lost);
        json_out_end(&x->out);
        return;
    }
    const char *row[] = {object, text, lost ? "yes" : "no"};
    table_row(&x->findings, row);
}

static void check_known(void *arg, const char *account, const char *stream, const char *text)
{
    struct ctx *x = arg;
    char object[700];
    if (stream != NULL) {
        snprintf(object, sizeof object, "stream \"%s\" of account \"%s\"", stream, account);
    } else {
        snprintf(object, sizeof object, "store");
    }
    on_finding(x, object, text, stream != NULL);
    x->findings.marks++;
}

static int cmd_check(struct ctx *x)
{
    static const char *const head[] = {"Where", "What", "Lost"};
    struct eng_check_report r;
    struct err err;
    char b[40], c[40];
    table_init(&x->findings, "Damage", head, ARRAY_LEN(head), ARRAY_LEN(head));
    if (x->json) {
        json_out_array(&x->out, "findings");
    }
    eng_incidents(x->store, check_known, x);
    enum st st = eng_check(x->store, on_finding, x, &r, &err);
    uint64_t findings = r.findings + x->findings.marks;
    if (x->json) {
        json_out_array_end(&x->out);
        json_out_u64(&x->out, "catalogue_pages", r.catalogue_pages);
        json_out_u64(&x->out, "segments", r.segments);
        json_out_u64(&x->out, "blocks", r.blocks);
        json_out_u64(&x->out, "journal_files", r.journal_files);
        json_out_u64(&x->out, "journal_groups", r.journal_groups);
        json_out_u64(&x->out, "journal_records", r.records);
        json_out_u64(&x->out, "bytes", r.bytes);
        json_out_u64(&x->out, "torn_bytes", r.torn_bytes);
        json_out_bool(&x->out, "clean", findings == 0 && st == ST_OK);
    } else {
        printf("Checked       %s catalogue pages, %s in segments and journal\n",
               count_text(r.catalogue_pages, b, sizeof b), bytes_text(r.bytes, c, sizeof c));
        printf("Segments      %s files, ", count_text(r.segments, b, sizeof b));
        printf("%s blocks\n", count_text(r.blocks, b, sizeof b));
        printf("Journal       %s groups, ", count_text(r.journal_groups, b, sizeof b));
        printf("%s records\n", count_text(r.records, b, sizeof b));
        if (findings > 0) {
            printf("\n");
            table_print(&x->findings, stdout);
        }
        printf("\n%s\n", findings == 0 ? "No damage." : "Damage was found; see above.");
    }
    table_fini(&x->findings);
    if (st != ST_OK) {
        fprintf(stderr, "jsadmin: check %s: %s\n", x->dir, err.msg);
        return 1;
    }
    return findings > 0 ? 3 : 0;
}

/* --- main ------------------------------------------------------------------------------------- */

static void no_doorbell(void *arg)
{
    (void)arg;
}

static void count_entry(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    (*(int *)arg)++;
}

static int run(struct ctx *x, struct env *env, const char *command)
{
    struct eng_opts o = {.store_dir = x->dir,
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .read_only_check = true,
                         .doorbell = no_doorbell};
    struct err err = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/millrace", x->dir);
    if (env_list(env, path, count_entry, &(int){0}, &err) != ST_OK) {
        fprintf(stderr, "jsadmin: no store in \"%s\": there is no folder \"millrace\" in it\n",
                x->dir);
        return 1;
    }
    enum st st = eng_open(env, &o, &x->store, &err);
    if (st != ST_OK) {
        fprintf(stderr, "jsadmin: could not open the store in \"%s\": %s\n", x->dir, err.msg);
        return st == ST_CORRUPT ? 3 : 1;
    }
    if (x->json) {
        json_out_begin(&x->out);
    }
    int code = strcmp(command, "info") == 0 ? cmd_info(x) : cmd_check(x);
    if (x->json) {
        json_out_end(&x->out);
        printf("%.*s\n", (int)x->out.len, x->out.buf);
        json_out_fini(&x->out);
    }
    eng_close(x->store);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct ctx x = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'j') {
            x.json = true;
        } else {
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    const char *command = optind < argc ? argv[optind] : "";
    if (optind + 2 != argc || (strcmp(command, "info") != 0 && strcmp(command, "check") != 0)) {
        fputs(usage_text, stderr);
        return 2;
    }
    x.dir = argv[optind + 1];
    log_set_level(false, false);
    struct env *env = env_real_create();
    int code = run(&x, env, command);
    env_real_destroy(env);
    return code;
}

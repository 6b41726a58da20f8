/* jsadmin check: every checksum of the store. */
#include "tools/jsadmin.h"

static void on_finding(void *arg, const char *object, const char *text, bool lost)
{
    struct ja_ctx *x = arg;
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
    struct ja_ctx *x = arg;
    char object[700];
    if (stream != NULL) {
        snprintf(object, sizeof object, "stream \"%s\" of account \"%s\"", stream, account);
    } else {
        snprintf(object, sizeof object, "store");
    }
    on_finding(x, object, text, stream != NULL);
    x->findings.marks++;
}

int ja_check(struct ja_ctx *x)
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
        json_out_u64(&x->out, "quarantine_files", r.quarantine_files);
        json_out_u64(&x->out, "quarantine_bytes", r.quarantine_bytes);
        json_out_bool(&x->out, "clean", findings == 0 && st == ST_OK);
    } else {
        printf("Checked       %s, %s in segments and journal\n",
               ja_things(r.catalogue_pages, "catalogue page", b, sizeof b),
               ja_bytes(r.bytes, c, sizeof c));
        printf("Segments      %s, ", ja_things(r.segments, "file", b, sizeof b));
        printf("%s\n", ja_things(r.blocks, "block", b, sizeof b));
        printf("Journal       %s, ", ja_things(r.journal_groups, "group", b, sizeof b));
        printf("%s\n", ja_things(r.records, "record", b, sizeof b));
        if (r.quarantine_files > 0) {
            printf("Quarantine    %s, ", ja_things(r.quarantine_files, "file", b, sizeof b));
            printf("%s (jsadmin quarantine)\n", ja_bytes(r.quarantine_bytes, b, sizeof b));
        }
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

/* jsadmin info: streams, consumers, what the last stop left. */
#include "tools/jsadmin.h"

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

static void info_json_consumers(struct ja_ctx *x, struct store_stream *s)
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

static void info_json(struct ja_ctx *x, const struct eng_info *info)
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

static void info_streams_table(struct ja_ctx *x)
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
        const char *row[] = {ops->stream_cfg(s)->account,     ops->stream_cfg(s)->name,
                             durability_text(st.durability),  ja_count(st.msgs, b[0], 40),
                             ja_bytes(st.bytes, b[1], 40),    ja_count(st.first_seq, b[2], 40),
                             ja_count(st.last_seq, b[3], 40), ja_count(st.nsubjects, b[4], 40),
                             ja_count(segs, b[5], 40),        ja_bytes(seg_bytes, b[6], 40),
                             ja_count(tail, b[7], 40),        ja_count(st.damaged_msgs, b[8], 40)};
        table_row(&t, row);
    }
    static const uint8_t drop[] = {10, 8, 2, 5, 7, 9, 0, 11};
    table_may_drop(&t, drop, ARRAY_LEN(drop), 6);
    table_print(&t, stdout);
    table_fini(&t);
}

static void info_consumers_table(struct ja_ctx *x)
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
                                 ja_count(st.delivered_sseq, b[0], 40),
                                 ja_count(st.floor_sseq, b[1], 40),
                                 ja_count(st.num_ack_pending, b[2], 40),
                                 ja_count(st.num_redelivered, b[3], 40),
                                 ja_count(st.num_pending, b[4], 40)};
            table_row(&t, row);
        }
    }
    static const uint8_t drop[] = {7, 6, 3, 5, 0};
    table_may_drop(&t, drop, ARRAY_LEN(drop), 4);
    table_print(&t, stdout);
    table_fini(&t);
}

int ja_info(struct ja_ctx *x)
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
    printf("Journal       %s replayed", ja_things(info.replayed_records, "record", b, sizeof b));
    printf(", %s torn at the end (never acknowledged)\n\n", ja_bytes(info.torn_bytes, b, sizeof b));
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

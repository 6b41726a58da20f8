/* Archives: written, verified, restored; a crash at any operation of a restore leaves the old
 * streams or the new ones. */
#include "tests/lib/eng_world.h"

#include "engine/backup.h"
#include "engine/store_snap.h"

/* --- tests ------------------------------------------------------------------------------------ */

/* What a restore waits with. */
static bool sim_wait(void *arg, int64_t deadline_ns)
{
    struct world *w = arg;
    if (env_sim_down(w->sim)) {
        return false;
    }
    if (!env_sim_step_one(w->sim)) {
        int64_t now = env_boot_ns(env_sim_env(w->sim));
        int64_t at = i64_max(now + 1, env_sim_next_timer_ns(w->sim));
        at = deadline_ns > now && deadline_ns < at ? deadline_ns : at;
        if (at == INT64_MAX) {
            return false;
        }
        env_sim_advance(w->sim, at - now);
    }
    return true;
}

static void subjects(struct stream_cfg *c)
{
    c->subjects = base_calloc(1, sizeof(char *));
    c->subjects[0] = base_strdup("k.*");
    c->nsubjects = 1;
    c->max_msgs = 90;
    c->description = base_strdup("of the archive");
}

static void memory(struct stream_cfg *c)
{
    c->storage = STORAGE_MEMORY;
}

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    (void)err;
    assert_int_equal(st, ST_OK);
    *(struct store_cons **)arg = c;
}

static void deliver(struct world *w, struct store_stream *s, int n, int acked)
{
    struct cons_cfg cfg;
    struct store_cons *c = NULL;
    cons_cfg_init(&cfg);
    cfg.name = base_strdup("C");
    cfg.durable = true;
    cfg.ack = ACK_EXPLICIT;
    cfg.ack_wait_ns = 3600 * NS_PER_S;
    w->store->ops->cons_create(s, &cfg, on_cons, &c);
    cons_cfg_fini(&cfg);
    spin(w);
    assert_non_null(c);
    for (int i = 0; i < n; i++) {
        struct cons_peek p;
        enum st st;
        while ((st = w->store->ops->cons_peek(c, &p)) == ST_AGAIN) {
            spin(w);
        }
        assert_int_equal(st, ST_OK);
        uint64_t sseq = p.m.seq, cseq = p.cseq;
        w->store->ops->cons_take(c);
        if (i < acked) {
            w->store->ops->cons_ack(c, CONS_ACK, sseq, cseq, 0, NULL, NULL);
        }
    }
    spin(w);
}

static struct store_stream *find(struct world *w, const char *name)
{
    return w->store->ops->stream_find(w->store, "$G", name);
}

/* The store that is archived: 100 messages of which limits and deletes leave 87, a consumer. */
static void make_archive(struct world *w)
{
    struct store_stream *s = create(w, "S", subjects);
    struct store_stream *m = create(w, "M", memory);
    char text[40], subject[32];
    for (int i = 1; i <= 100; i++) {
        snprintf(text, sizeof text, "archived %d", i);
        snprintf(subject, sizeof subject, "k.%d", i % 7);
        assert_int_equal(publish(w, s, subject, text).seq, i);
        assert_true(publish(w, m, "m", text).seq > 0);
        if (i == 60) {
            checkpoint(w);
        }
    }
    static const uint64_t gone[] = {11, 50, 100};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        struct got g = {0};
        w->store->ops->msg_delete(s, gone[i], false, on_done, &g);
        spin(w);
        assert_int_equal(g.st, ST_OK);
    }
    deliver(w, s, 20, 5);
    struct err err = {0};
    struct eng_backup_opts o = {.path = "/a.arc"};
    struct eng_backup_report r;
    TEST_OK(eng_backup(w->store, &o, &r, &err), &err);
    assert_int_equal(r.streams, 2);
    assert_int_equal(r.msgs, 187);
    assert_int_equal(r.consumers, 1);
    assert_int_equal(eng_backup(w->store, &o, &r, &err), ST_EXISTS);
}

static void expect_archived(struct world *w, const char *name)
{
    struct store_stream *s = find(w, name);
    assert_non_null(s);
    struct stream_state st = state(w, s);
    assert_int_equal(st.msgs, 87);
    assert_int_equal(st.last_seq, 100);
    assert_int_equal(st.first_seq, 12);
    assert_int_equal(st.ndeleted, 2);
    assert_int_equal(st.damaged_msgs, 0);
    const struct stream_cfg *cfg = w->store->ops->stream_cfg(s);
    assert_string_equal(cfg->description, "of the archive");
    assert_int_equal(cfg->max_msgs, 90);
    assert_false(cfg->mirror);
    for (uint64_t i = 12; i <= 99; i++) {
        struct got m = get(w, s, GET_BY_SEQ, i, "");
        char text[40];
        snprintf(text, sizeof text, "archived %llu", (unsigned long long)i);
        assert_int_equal(m.st, i == 50 ? ST_NOTFOUND : ST_OK);
        if (i != 50) {
            assert_string_equal(m.data, text);
        }
    }
    struct store_cons *c = w->store->ops->cons_find(s, "C");
    struct cons_state cs;
    assert_non_null(c);
    w->store->ops->cons_state(c, &cs);
    assert_int_equal(cs.delivered_cseq, 20);
    assert_int_equal(cs.delivered_sseq, 31);
    assert_int_equal(cs.floor_sseq, 16);
    assert_int_equal(cs.num_ack_pending, 15);
    assert_int_equal(cs.num_pending, 67);
}

static enum st restore(struct world *w, struct eng_restore_opts o, struct err *err)
{
    struct eng_backup_report r;
    o.path = "/a.arc";
    o.drive = (struct store_drive){w->store, sim_wait, w};
    return eng_restore(w->store, &o, &r, err);
}

/* Stream B with 1 MB in the archive, and with one message in the store. */
static void make_big_archive(struct world *w)
{
    static char noise[9001];
    struct eng_backup_report r;
    struct err err = {0};
    struct got g = {0};
    struct store_stream *s = create(w, "B", NULL);
    for (uint64_t i = 0; i < 100; i++) {
        for (size_t k = 0; k < sizeof noise - 1; k++) {
            noise[k] = (char)(1 + prng_mix(i * 10000 + k) % 255);
        }
        assert_int_equal(publish(w, s, "b", noise).verdict, APPEND_STORED);
    }
    struct eng_backup_opts o = {.path = "/a.arc"};
    TEST_OK(eng_backup(w->store, &o, &r, &err), &err);
    struct store_purge p = {.keep = 1};
    w->store->ops->purge(s, &p, on_done, &g);
    spin(w);
    assert_int_equal(g.st, ST_OK);
}

static void back_and_forth(void **state_)
{
    struct world w;
    struct err err = {0};
    (void)state_;
    world_init(&w, 1);
    make_archive(&w);
    TEST_OK(restore(&w, (struct eng_restore_opts){.stream = "S", .replace = true}, &err), &err);
    expect_archived(&w, "S");
    assert_int_equal(restore(&w, (struct eng_restore_opts){.stream = "S"}, &err), ST_EXISTS);
    assert_int_equal(restore(&w, (struct eng_restore_opts){.stream = "S", .to_stream = "T"}, &err),
                     ST_EXISTS);
    assert_int_equal(restore(&w, (struct eng_restore_opts){.stream = "X"}, &err), ST_NOTFOUND);
    TEST_OK(restore(&w, (struct eng_restore_opts){.stream = "M", .to_stream = "M2"}, &err), &err);
    assert_int_equal(state(&w, find(&w, "M2")).msgs, 100);
    assert_int_equal(publish(&w, find(&w, "M2"), "m", "next").seq, 101);
    assert_int_equal(publish(&w, find(&w, "S"), "k.1", "next").seq, 101);
    struct got g = {0};
    w.store->ops->msg_delete(find(&w, "S"), 101, false, on_done, &g);
    spin(&w);
    eng_abandon(w.store);
    env_sim_power_loss(w.sim, 3);
    world_open(&w);
    struct eng_info info;
    eng_info_get(w.store, &info);
    assert_int_equal(info.damaged_streams, 0);
    assert_int_equal(info.streams, 3);
    assert_int_equal(state(&w, find(&w, "S")).last_seq, 101);
    checkpoint(&w);
    eng_close(w.store);
    world_open(&w);
    assert_int_equal(state(&w, find(&w, "S")).msgs, 87);
    world_fini(&w);
}

static void no_strays(void *arg, const char *path, uint64_t size)
{
    (void)arg, (void)size;
    if (strstr(path, "/quarantine/") != NULL) {
        fail_msg("%s", path);
    }
}

/* A disk that is full comes to an end too: all or nothing, and the next start cleans up. */
static void full_disk(void **state_)
{
    (void)state_;
    unsigned refused = 0, ok = 0;
    for (uint64_t room = 0; room < 4 * MIB; room += 64 * KIB) {
        struct world w;
        struct err err = {0};
        world_init(&w, 5);
        make_big_archive(&w);
        env_sim_set_disk_bytes(w.sim, env_sim_used_bytes(w.sim) + room);
        enum st st = restore(&w, (struct eng_restore_opts){.stream = "B", .replace = true}, &err);
        assert_true(st == ST_OK || st == ST_NOSPACE);
        refused += st == ST_NOSPACE;
        ok += st == ST_OK;
        eng_close(w.store);
        env_sim_set_disk_bytes(w.sim, GIB);
        world_open(&w);
        assert_int_equal(state(&w, find(&w, "B")).msgs, st == ST_OK ? 100 : 1);
        assert_null(w.store->ops->stream_next(w.store, STORE_IMPORT_ACCOUNT, NULL));
        world_fini(&w);
    }
    assert_true(refused > 5 && ok > 5);
}

/* The machine dies at the n-th operation of a restore over an older stream. True: it was over. */
static bool dies_at(uint64_t n, bool power)
{
    struct world w;
    struct err err = {0};
    world_init(&w, n);
    make_archive(&w);
    struct got g = {0};
    w.store->ops->stream_delete(w.store, find(&w, "S"), on_done, &g);
    spin(&w);
    struct store_stream *s = create(&w, "S", subjects);
    assert_int_equal(publish(&w, s, "k.1", "older").seq, 1);
    env_sim_crash_at(w.sim, n, true);
    enum st st = restore(&w, (struct eng_restore_opts){.stream = "S", .replace = true}, &err);
    if (st == ST_OK && n % 3 == 0) {
        eng_checkpoint(w.store, on_done, &g);
        for (int i = 0; i < 200; i++) {
            env_sim_step_one(w.sim);
            w.store->ops->poll(w.store);
        }
    }
    bool over = !env_sim_down(w.sim);
    eng_abandon(w.store);
    if (power) {
        env_sim_power_loss(w.sim, n);
    } else {
        env_sim_process_crash(w.sim);
    }
    world_open(&w);
    s = find(&w, "S");
    assert_non_null(s);
    if (st == ST_OK || state(&w, s).msgs > 1) {
        expect_archived(&w, "S");
    } else {
        assert_int_equal(state(&w, s).msgs, 1);
        assert_string_equal(get(&w, s, GET_BY_SEQ, 1, "").data, "older");
    }
    assert_null(w.store->ops->stream_next(w.store, STORE_IMPORT_ACCOUNT, NULL));
    checkpoint(&w);
    for (int i = 0; i < 5; i++) {
        spin(&w);
    }
    eng_close(w.store);
    world_open(&w);
    env_sim_each_file(w.sim, no_strays, NULL);
    struct eng_info info;
    eng_info_get(w.store, &info);
    assert_int_equal(info.damaged_streams, 0);
    assert_int_equal(info.streams, 2);
    world_fini(&w);
    return over;
}

static void crash_anywhere(void **state_)
{
    (void)state_;
    uint64_t n = 1;
    while (!dies_at(n, n % 2 == 0)) {
        n++;
    }
    assert_true(n > 8);
}

/* Every bit of a small archive. */
static void every_bit(void **state_)
{
    struct world w;
    struct err err = {0};
    struct eng_backup_report r;
    uint64_t size;
    (void)state_;
    world_init(&w, 1);
    struct store_stream *s = create(&w, "S", subjects);
    (void)publish(&w, s, "k.1", "only one message");
    struct eng_backup_opts o = {.path = "/a.arc"};
    TEST_OK(eng_backup(w.store, &o, &r, &err), &err);
    struct env *env = env_sim_env(w.sim);
    TEST_OK(eng_archive_verify(env, "/a.arc", NULL, NULL, NULL, &r, &err), &err);
    assert_int_equal(r.msgs, 1);
    assert_int_equal(env_sim_file_size(w.sim, "/a.arc", &size), ST_OK);
    for (uint64_t off = 0; off < size; off++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            assert_int_equal(env_sim_flip_bit(w.sim, "/a.arc", off, bit), ST_OK);
            if (eng_archive_verify(env, "/a.arc", NULL, NULL, NULL, &r, &err) == ST_OK) {
                fail_msg("bit %u of byte %llu is not noticed", bit, (unsigned long long)off);
            }
            assert_int_equal(env_sim_flip_bit(w.sim, "/a.arc", off, bit), ST_OK);
        }
    }
    TEST_OK(eng_archive_verify(env, "/a.arc", NULL, NULL, NULL, &r, &err), &err);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_and_forth),
        cmocka_unit_test(crash_anywhere),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

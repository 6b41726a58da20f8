/* The simulated world by itself: what survives a power loss, faults, crash points, saved disks. The
 * rules checked here are those at the top of env_sim.c. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "engine/base/env_sim.h"

#define SECTOR 512u

static struct env_sim *new_sim(uint64_t n)
{
    return env_sim_create(test_seed() + n);
}

static struct env_file *open_at(struct env_sim *sim, const char *path)
{
    struct env_file *f;
    struct err err;
    TEST_OK(env_open(env_sim_env(sim), path, ENV_RDWR | ENV_CREATE, &f, &err), &err);
    return f;
}

static void put(struct env_sim *sim, struct env_file *f, uint64_t off, const void *p, size_t n)
{
    struct err err;
    TEST_OK(env_pwrite(env_sim_env(sim), f, p, n, off, &err), &err);
}

static void sync_file(struct env_sim *sim, struct env_file *f)
{
    TEST_OK(env_datasync(env_sim_env(sim), f, NULL), NULL);
}

static void sync_dir(struct env_sim *sim, const char *path)
{
    TEST_OK(env_dirsync(env_sim_env(sim), path, NULL), NULL);
}

static bool exists(struct env_sim *sim, const char *path)
{
    uint64_t size;
    return env_sim_file_size(sim, path, &size) == ST_OK;
}

/* --- what survives --- */
static void name_and_data_are_synced_apart(void **state)
{
    (void)state;
    unsigned gone = 0, there = 0, full = 0, empty = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env_file *a = open_at(sim, "/data-only"), *b = open_at(sim, "/both");
        put(sim, a, 0, "aaaa", 4);
        put(sim, b, 0, "bbbb", 4);
        sync_file(sim, a);
        sync_file(sim, b);
        env_close(env_sim_env(sim), a);
        env_close(env_sim_env(sim), b);
        assert_false(env_sim_all_synced(sim, "/both"));
        sync_dir(sim, "/");
        assert_true(env_sim_all_synced(sim, NULL));
        /* now a name without data, and data without a name */
        struct env_file *c = open_at(sim, "/name-only");
        sync_dir(sim, "/");
        put(sim, c, 0, "cccc", 4);
        struct env_file *d = open_at(sim, "/unnamed");
        put(sim, d, 0, "dddd", 4);
        sync_file(sim, d);
        env_sim_power_loss(sim, seed);
        env_close(env_sim_env(sim), c);
        env_close(env_sim_env(sim), d);
        char buf[4];
        TEST_OK(env_sim_file_read(sim, "/both", 0, buf, 4), NULL);
        assert_memory_equal(buf, "bbbb", 4);
        assert_true(exists(sim, "/data-only"));
        uint64_t size;
        TEST_OK(env_sim_file_size(sim, "/name-only", &size), NULL);
        assert_true(size == 0 || size == 4);
        TEST_OK(env_sim_file_read(sim, "/name-only", 0, buf, 4), NULL);
        assert_true(memcmp(buf, "cccc", 4) == 0 || memcmp(buf, "\0\0\0\0", 4) == 0);
        full += buf[0] == 'c';
        empty += buf[0] == 0;
        bool named = exists(sim, "/unnamed");
        if (named) {
            TEST_OK(env_sim_file_read(sim, "/unnamed", 0, buf, 4), NULL);
            assert_memory_equal(buf, "dddd", 4);
        }
        gone += !named;
        there += named;
        env_sim_destroy(sim);
    }
    assert_true(gone > 20 && there > 20 && full > 20 && empty > 20);
}

static void directory_goes_with_its_content(void **state)
{
    (void)state;
    unsigned gone = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct env_sim *sim = new_sim(seed);
        TEST_OK(env_mkdir(env_sim_env(sim), "/d", NULL), NULL);
        struct env_file *f = open_at(sim, "/d/f");
        sync_file(sim, f);
        sync_dir(sim, "/d"); /* and never "/" */
        env_sim_power_loss(sim, seed);
        env_close(env_sim_env(sim), f);
        gone += !exists(sim, "/d/f");
        env_sim_destroy(sim);
    }
    assert_true(gone > 10 && gone < 60);
}

/* Random writes, each sector stamped with a version; after a power loss each sector must hold a
 * version that its history allows: the durable one or one written since. */
enum { SECTORS = 64 };

struct history {
    uint64_t durable[SECTORS]; /* version */
    uint64_t latest[SECTORS];
    bool may[SECTORS][256]; /* versions the sector may hold */
};

static void write_sectors(struct env_sim *sim, struct env_file *f, struct history *h,
                          uint64_t first, uint64_t n, uint8_t version)
{
    uint8_t buf[SECTORS * SECTOR];
    memset(buf, version, n * SECTOR);
    put(sim, f, first * SECTOR, buf, n * SECTOR);
    for (uint64_t s = first; s < first + n; s++) {
        h->may[s][version] = true;
        h->latest[s] = version;
    }
}

static void history_synced(struct history *h)
{
    for (size_t s = 0; s < SECTORS; s++) {
        memset(h->may[s], 0, sizeof(h->may[s]));
        h->may[s][h->latest[s]] = true;
    }
}

static unsigned check_sectors(struct env_sim *sim, const struct history *h)
{
    unsigned mixed = 0;
    uint8_t buf[SECTORS * SECTOR];
    TEST_OK(env_sim_file_read(sim, "/f", 0, buf, sizeof(buf)), NULL);
    for (size_t s = 0; s < SECTORS; s++) {
        const uint8_t *p = buf + s * SECTOR;
        for (size_t i = 1; i < SECTOR; i++) {
            assert_int_equal(p[i], p[0]); /* a sector is never torn */
        }
        if (!h->may[s][p[0]]) {
            fail_msg("sector %zu holds version %u, which it may not", s, p[0]);
        }
        mixed += p[0] != h->latest[s];
    }
    return mixed;
}

static void sectors_hold_versions_of_their_history(void **state)
{
    (void)state;
    unsigned torn_runs = 0, rounds = test_rounds(200);
    struct history *h = base_malloc(sizeof(*h));
    for (uint64_t r = 0; r < rounds; r++) {
        struct prng p = {test_seed() + r};
        struct env_sim *sim = new_sim(r);
        struct env_file *f = open_at(sim, "/f");
        memset(h, 0, sizeof(*h));
        TEST_OK(env_fallocate(env_sim_env(sim), f, 0, SECTORS * SECTOR, NULL), NULL);
        sync_file(sim, f);
        sync_dir(sim, "/");
        history_synced(h);
        unsigned writes = (unsigned)prng_below(&p, 40);
        for (unsigned i = 0; i < writes; i++) {
            uint64_t first = prng_below(&p, SECTORS);
            write_sectors(sim, f, h, first, 1 + prng_below(&p, SECTORS - first), (uint8_t)(i + 1));
            if (prng_below(&p, 8) == 0) {
                sync_file(sim, f);
                history_synced(h);
            }
        }
        env_close(env_sim_env(sim), f);
        env_sim_power_loss(sim, prng_next(&p));
        unsigned lost = check_sectors(sim, h);
        torn_runs += lost > 0;
        uint64_t size;
        TEST_OK(env_sim_file_size(sim, "/f", &size), NULL);
        assert_int_equal(size, SECTORS * SECTOR);
        env_sim_destroy(sim);
    }
    assert_true(rounds < 50 || torn_runs > rounds / 8);
    base_free(h);
}

static void truncation_is_atomic_with_its_bytes(void **state)
{
    (void)state;
    unsigned cut = 0, kept = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env_file *f = open_at(sim, "/f");
        uint8_t buf[8192];
        memset(buf, 'o', sizeof(buf));
        put(sim, f, 0, buf, sizeof(buf));
        sync_file(sim, f);
        sync_dir(sim, "/");
        TEST_OK(env_truncate(env_sim_env(sim), f, 1000, NULL), NULL);
        if (seed % 2 == 0) {
            memset(buf, 'n', sizeof(buf));
            put(sim, f, 4096, buf, 4096);
        }
        env_close(env_sim_env(sim), f);
        env_sim_power_loss(sim, seed);
        uint64_t size;
        TEST_OK(env_sim_file_size(sim, "/f", &size), NULL);
        TEST_OK(env_sim_file_read(sim, "/f", 0, buf, sizeof(buf)), NULL);
        for (size_t i = 0; i < 1000; i++) {
            assert_int_equal(buf[i], 'o');
        }
        if (buf[1000] == 'o') { /* it did not happen: all old bytes are there, nothing later */
            kept++;
            assert_int_equal(size, 8192);
            for (size_t i = 1000; i < 8192; i++) {
                assert_int_equal(buf[i], 'o');
            }
        } else {
            cut++;
            assert_true(size == 1000 || (size == 8192 && seed % 2 == 0));
            for (size_t i = 1000; i < 4096; i++) {
                assert_int_equal(buf[i], 0);
            }
            for (size_t i = 4096; i < 8192; i++) {
                assert_true(buf[i] == 0 ||
                            (buf[i] == 'n' && i < size)); /* nothing hides past the end */
            }
        }
        env_sim_destroy(sim);
    }
    assert_true(cut > 30 && kept > 30);
}

static void synced_removal_stays_removed(void **state)
{
    (void)state;
    unsigned back = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env *e = env_sim_env(sim);
        TEST_OK(env_mkdir(e, "/d", NULL), NULL);
        env_close(e, open_at(sim, "/f"));
        env_close(e, open_at(sim, "/g"));
        sync_dir(sim, "/");
        TEST_OK(env_unlink(e, "/f", NULL), NULL);
        TEST_OK(env_rmdir(e, "/d", NULL), NULL);
        sync_dir(sim, "/");
        TEST_OK(env_unlink(e, "/g", NULL), NULL);
        env_sim_power_loss(sim, seed);
        assert_false(exists(sim, "/f"));
        TEST_ST(env_dirsync(e, "/d", NULL), ST_NOTFOUND);
        back += exists(sim, "/g");
        env_sim_destroy(sim);
    }
    assert_true(back > 10 && back < 90);
}

static void unsynced_pages_stay_in_the_cache(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    struct env_file *f = open_at(sim, "/f");
    uint8_t buf[3 * BASE_PAGE], back[3 * BASE_PAGE];
    memset(buf, 1, sizeof(buf));
    put(sim, f, 0, buf, sizeof(buf));
    sync_file(sim, f);
    memset(buf + 5000, 2, 100);
    put(sim, f, 5000, buf + 5000, 100);
    env_drop_cache(e, f, 0, 0);
    size_t got;
    TEST_OK(env_pread(e, f, back, sizeof(back), 0, &got, NULL), NULL);
    assert_memory_equal(buf, back, sizeof(buf));
    env_close(e, f);
    env_sim_destroy(sim);
}

static void saved_disk_does_not_change(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    struct env_file *f = open_at(sim, "/f");
    uint8_t buf[4 * BASE_PAGE], back[4 * BASE_PAGE];
    memset(buf, 1, sizeof(buf));
    put(sim, f, 0, buf, sizeof(buf));
    struct env_sim_disk *before = env_sim_disk_save(sim);
    memset(back, 2, sizeof(back));
    put(sim, f, 100, back, 5000);
    sync_file(sim, f);
    TEST_OK(env_truncate(e, f, BASE_PAGE, NULL), NULL);
    TEST_OK(env_unlink(e, "/f", NULL), NULL);
    env_close(e, f);
    for (int i = 0; i < 2; i++) { /* twice: loading does not use it up */
        env_sim_disk_load(sim, before);
        TEST_OK(env_sim_file_read(sim, "/f", 0, back, sizeof(back)), NULL);
        assert_memory_equal(buf, back, sizeof(buf));
        f = open_at(sim, "/f");
        put(sim, f, 0, "changed", 7);
        sync_file(sim, f);
        env_close(e, f);
    }
    env_sim_disk_free(before);
    env_sim_destroy(sim);
}

static void rename_is_atomic(void **state)
{
    (void)state;
    unsigned before = 0, after = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env *e = env_sim_env(sim);
        TEST_OK(env_mkdir(e, "/q", NULL), NULL);
        struct env_file *f = open_at(sim, "/STORE");
        put(sim, f, 0, "old", 3);
        sync_file(sim, f);
        env_close(e, f);
        sync_dir(sim, "/");
        f = open_at(sim, "/STORE.tmp");
        put(sim, f, 0, "new", 3);
        sync_file(sim, f);
        env_close(e, f);
        TEST_OK(env_rename(e, "/STORE.tmp", "/STORE", NULL), NULL);
        env_sim_power_loss(sim, seed);
        char buf[3];
        TEST_OK(env_sim_file_read(sim, "/STORE", 0, buf, 3), NULL);
        bool is_new = memcmp(buf, "new", 3) == 0;
        assert_true(is_new || memcmp(buf, "old", 3) == 0);
        assert_false(is_new && exists(sim, "/STORE.tmp"));
        before += !is_new;
        after += is_new;
        /* across directories: in one of the two, always */
        TEST_OK(env_rename(e, "/STORE", "/q/STORE", NULL), NULL);
        sync_dir(sim, "/");
        env_sim_power_loss(sim, seed + 1);
        assert_int_equal(exists(sim, "/STORE") + exists(sim, "/q/STORE"), 1);
        env_sim_destroy(sim);
    }
    assert_true(before > 20 && after > 20);
}

/* Random names in random directories. Every file holds its own number, synced; so after a power
 * loss we can tell for each file where it is. */
enum { FILES = 12, DIRS = 3, BIRTHS = 64 };

struct tree {
    char at[FILES][16]; /* volatile path; "" = none */
    char was[FILES]
            [16];     /* path that is surely durable if the file was not touched since; "" = none */
    bool safe[FILES]; /* durable under some name: may move, must not vanish */
    int id[FILES];    /* what the file holds: a number never used twice */
    int births;
};

static void tree_path(struct prng *p, char *out)
{
    (void)snprintf(out, 16, "/d%u/n%u", (unsigned)prng_below(p, DIRS), (unsigned)prng_below(p, 6));
}

static int tree_owner(const struct tree *t, const char *path)
{
    for (int i = 0; i < FILES; i++) {
        if (strcmp(t->at[i], path) == 0) {
            return i;
        }
    }
    return -1;
}

/* Ends a file's durable promise: it was moved or removed since the last sync. */
static void tree_touch(struct tree *t, int i, const char *now)
{
    (void)snprintf(t->at[i], sizeof(t->at[i]), "%s", now);
    t->was[i][0] = '\0';
    t->safe[i] = t->safe[i] && now[0] != '\0';
}

static void tree_step(struct env_sim *sim, struct tree *t, struct prng *p)
{
    struct env *e = env_sim_env(sim);
    char path[16], dir[4];
    tree_path(p, path);
    int i = (int)prng_below(p, FILES), owner = tree_owner(t, path);
    switch (prng_below(p, 4)) {
    case 0:
        if (t->at[i][0] == '\0' && owner < 0) {
            struct env_file *f = open_at(sim, path);
            t->id[i] = t->births++;
            put(sim, f, 0, &t->id[i], sizeof(int));
            sync_file(sim, f);
            env_close(e, f);
            tree_touch(t, i, path);
        }
        break;
    case 1:
        if (t->at[i][0] != '\0') {
            TEST_OK(env_unlink(e, t->at[i], NULL), NULL);
            tree_touch(t, i, "");
        }
        break;
    case 2:
        if (t->at[i][0] != '\0' && owner != i) {
            TEST_OK(env_rename(e, t->at[i], path, NULL), NULL);
            if (owner >= 0) {
                tree_touch(t, owner, "");
            }
            tree_touch(t, i, path);
        }
        break;
    default:
        (void)snprintf(dir, sizeof(dir), "/d%u", (unsigned)prng_below(p, DIRS));
        sync_dir(sim, dir);
        for (int k = 0; k < FILES; k++) {
            if (strncmp(t->at[k], dir, 3) == 0) {
                memcpy(t->was[k], t->at[k], sizeof(t->was[k]));
                t->safe[k] = true;
            }
        }
        break;
    }
}

struct census {
    struct env_sim *sim;
    unsigned seen[BIRTHS];
};

static void count_file(void *arg, const char *path, uint64_t size)
{
    struct census *c = arg;
    int i = -1;
    assert_int_equal(size, sizeof(i));
    TEST_OK(env_sim_file_read(c->sim, path, 0, &i, sizeof(i)), NULL);
    assert_in_range(i, 0, BIRTHS - 1);
    assert_int_equal(c->seen[i]++, 0); /* never under two names */
}

static void names_are_neither_lost_nor_doubled(void **state)
{
    (void)state;
    unsigned rounds = test_rounds(400);
    for (uint64_t r = 0; r < rounds; r++) {
        struct prng p = {test_seed() + r};
        struct env_sim *sim = new_sim(r);
        struct tree t = {0};
        for (unsigned d = 0; d < DIRS; d++) {
            char dir[4];
            (void)snprintf(dir, sizeof(dir), "/d%u", d);
            TEST_OK(env_mkdir(env_sim_env(sim), dir, NULL), NULL);
        }
        sync_dir(sim, "/");
        unsigned steps = (unsigned)prng_below(&p, 60);
        for (unsigned i = 0; i < steps; i++) {
            tree_step(sim, &t, &p);
        }
        env_sim_power_loss(sim, prng_next(&p));
        struct census c = {.sim = sim};
        env_sim_each_file(sim, count_file, &c);
        for (int i = 0; i < FILES; i++) {
            if (t.was[i][0] != '\0' && (c.seen[t.id[i]] != 1 || !exists(sim, t.was[i]))) {
                fail_msg("round %llu: file %d is not at %s", (unsigned long long)r, i, t.was[i]);
            }
            assert_true(IMPLIES(t.safe[i], c.seen[t.id[i]] == 1));
        }
        env_sim_destroy(sim);
    }
}

static void emptied_directory_does_not_take_files_along(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env *e = env_sim_env(sim);
        TEST_OK(env_mkdir(e, "/d", NULL), NULL);
        TEST_OK(env_mkdir(e, "/e", NULL), NULL);
        struct env_file *f = open_at(sim, "/d/f");
        env_close(e, f);
        sync_dir(sim, "/");
        sync_dir(sim, "/d");
        TEST_OK(env_rename(e, "/d/f", "/e/f", NULL), NULL);
        TEST_OK(env_rmdir(e, "/d", NULL), NULL);
        if (seed % 2 == 0) {
            sync_dir(sim, "/");
        }
        env_sim_power_loss(sim, seed);
        assert_int_equal(exists(sim, "/d/f") + exists(sim, "/e/f"), 1);
        env_sim_destroy(sim);
    }
}

/* --- restarts --- */
static void process_crash_keeps_everything(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    uint8_t id[16], id2[16];
    env_boot_id(e, id);
    struct env_lock *l, *m;
    TEST_OK(env_lock_take(e, "/LOCK", &l, NULL), NULL);
    struct env_file *f = open_at(sim, "/f");
    put(sim, f, 0, "data", 4);
    env_sim_advance(sim, NS_PER_S);
    int64_t boot = env_boot_ns(e);
    env_sim_process_crash(sim);
    env_boot_id(e, id2);
    assert_memory_equal(id, id2, 16);
    assert_int_equal(env_boot_ns(e), boot);
    struct err err;
    char buf[4];
    size_t got;
    TEST_ST(env_pread(e, f, buf, 4, 0, &got, &err), ST_IO); /* a handle of the dead */
    TEST_ST(env_pwrite(e, f, buf, 4, 0, &err), ST_IO);
    env_close(e, f);
    TEST_OK(env_lock_take(e, "/LOCK", &m, &err), &err); /* its locks are free */
    env_lock_release(e, l);
    f = open_at(sim, "/f");
    TEST_OK(env_pread(e, f, buf, 4, 0, &got, NULL), NULL);
    assert_memory_equal(buf, "data", 4);
    int64_t real = env_real_ns(e);
    env_sim_power_loss(sim, 1);
    env_boot_id(e, id2);
    assert_memory_not_equal(id, id2, 16);
    assert_true(env_boot_ns(e) < boot);
    assert_true(env_real_ns(e) >= real);
    env_close(e, f);
    env_lock_release(e, m);
    env_sim_destroy(sim);
}

/* A small protocol: two generations of a file by temporary name, sync, rename, directory sync. */
static enum st replace(struct env *e, const char *text)
{
    struct env_file *f;
    enum st st = env_open(e, "/s/new", ENV_RDWR | ENV_CREATE, &f, NULL);
    if (st != ST_OK) {
        return st;
    }
    st = env_truncate(e, f, 0, NULL);
    if (st == ST_OK) {
        st = env_pwrite(e, f, text, strlen(text), 0, NULL);
    }
    if (st == ST_OK) {
        st = env_datasync(e, f, NULL);
    }
    env_close(e, f);
    if (st == ST_OK) {
        st = env_rename(e, "/s/new", "/s/cur", NULL);
    }
    return st == ST_OK ? env_dirsync(e, "/s", NULL) : st;
}

static enum st scenario(struct env *e, int *done)
{
    enum st st = env_mkdir(e, "/s", NULL);
    st = st == ST_EXISTS ? ST_OK : st;
    if (st == ST_OK) {
        st = env_dirsync(e, "/", NULL);
    }
    for (int i = 1; st == ST_OK && i <= 3; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "generation-%d", i);
        st = replace(e, text);
        if (st == ST_OK) {
            *done = i;
        }
    }
    return st;
}

static int generation_on_disk(struct env_sim *sim)
{
    uint8_t *buf;
    size_t len;
    enum st st = env_read_file(env_sim_env(sim), "/s/cur", 64, &buf, &len, NULL);
    if (st == ST_NOTFOUND) {
        return 0;
    }
    TEST_OK(st, NULL);
    int gen = -1;
    assert_int_equal(sscanf((char *)buf, "generation-%d", &gen), 1);
    assert_int_equal(len, strlen("generation-0"));
    base_free(buf);
    return gen;
}

static void crash_sweep_finds_no_hole_in_a_right_protocol(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    int done_count = 0;
    TEST_OK(scenario(env_sim_env(sim), &done_count), NULL);
    uint64_t ops = env_sim_ops(sim);
    env_sim_destroy(sim);
    assert_int_equal(ops,
                     2 + 3 * 6); /* mkdir, sync; create, truncate, write, sync, rename, dirsync */
    for (uint64_t n = 1; n <= ops; n++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            sim = new_sim(seed * 1000 + n);
            env_sim_crash_at(sim, n, seed % 2 == 0);
            int promised = 0;
            TEST_ST(scenario(env_sim_env(sim), &promised), ST_IO);
            assert_true(env_sim_down(sim));
            assert_int_equal(env_sim_ops(sim), n);
            if (seed % 4 == 3) {
                env_sim_process_crash(sim);
            } else {
                env_sim_power_loss(sim, seed);
            }
            assert_false(env_sim_down(sim));
            int gen = generation_on_disk(sim);
            assert_in_range(gen, promised, promised + 1);
            int again = 0;
            TEST_OK(scenario(env_sim_env(sim), &again), NULL); /* the disk is usable */
            assert_int_equal(generation_on_disk(sim), 3);
            env_sim_destroy(sim);
        }
    }
}

/* The same sweep in one run: the disk is saved after every operation. */
struct saver {
    struct env_sim *sim;
    struct env_sim_disk *disk[64];
    int promised[64];
    size_t len;
    const int *done;
};

static void save_after_op(void *arg, const struct env_sim_op *op)
{
    struct saver *s = arg;
    if (op->n != 0) {
        assert_int_equal(op->n, s->len + 1);
        s->promised[s->len] = *s->done;
        s->disk[s->len++] = env_sim_disk_save(s->sim);
    }
}

static void saved_disks_replay_a_sweep(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0), *other = new_sim(1);
    int done_count = 0;
    struct saver s = {.sim = sim, .done = &done_count};
    env_sim_set_trace(sim, save_after_op, &s);
    TEST_OK(scenario(env_sim_env(sim), &done_count), NULL);
    assert_int_equal(s.len, env_sim_ops(sim));
    env_sim_destroy(sim); /* saved disks live on */
    for (size_t i = 0; i < s.len; i++) {
        for (uint64_t seed = 0; seed < 30; seed++) {
            env_sim_disk_load(other, s.disk[i]);
            env_sim_power_loss(other, seed);
            int gen = generation_on_disk(other);
            assert_in_range(gen, s.promised[i], s.promised[i] + 1);
        }
        env_sim_disk_free(s.disk[i]);
    }
    env_sim_destroy(other);
}

static void clone_loses_what_the_original_loses(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct env_sim *a = new_sim(seed), *b = new_sim(seed + 1000);
        struct prng p = {test_seed() + seed};
        struct env_file *f = open_at(a, "/f");
        uint8_t x[20000], y[20000];
        for (int i = 0; i < 20; i++) {
            memset(x, i + 1, sizeof(x));
            put(a, f, prng_below(&p, 100000), x, (size_t)prng_below(&p, sizeof(x)));
        }
        env_close(env_sim_env(a), f);
        sync_dir(a, "/");
        struct env_sim_disk *d = env_sim_disk_save(a);
        env_sim_disk_load(b, d);
        env_sim_disk_free(d);
        assert_int_equal(env_sim_used_bytes(a), env_sim_used_bytes(b));
        env_sim_power_loss(a, seed);
        env_sim_power_loss(b, seed);
        for (uint64_t off = 0; off < 120000; off += sizeof(x)) {
            TEST_OK(env_sim_file_read(a, "/f", off, x, sizeof(x)), NULL);
            TEST_OK(env_sim_file_read(b, "/f", off, y, sizeof(y)), NULL);
            assert_memory_equal(x, y, sizeof(x));
        }
        env_sim_destroy(a);
        env_sim_destroy(b);
    }
}

/* --- faults --- */
static void faults_hit_where_told(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    struct env_file *a = open_at(sim, "/a.jnl"), *b = open_at(sim, "/b.seg");
    env_sim_fault(sim,
                  &(struct env_sim_fault){
                      .kinds = ENV_SIM_BIT(ENV_SIM_WRITE), .glob = "*.jnl", .skip = 1, .times = 2});
    struct err err;
    put(sim, a, 0, "1", 1);
    put(sim, b, 0, "1", 1);
    TEST_ST(env_pwrite(e, a, "2", 1, 0, &err), ST_IO);
    assert_int_equal(err.os_errno, 5);
    TEST_ST(env_pwrite(e, a, "3", 1, 0, &err), ST_IO);
    put(sim, b, 0, "2", 1);
    put(sim, a, 1, "4", 1);
    assert_int_equal(env_sim_fault_hits(sim), 2);
    char buf[2];
    TEST_OK(env_sim_file_read(sim, "/a.jnl", 0, buf, 2), NULL);
    assert_memory_equal(buf, "14", 2);
    env_sim_faults_clear(sim);
    env_sim_fault(sim, &(struct env_sim_fault){.kinds = ENV_SIM_BIT(ENV_SIM_READ)});
    size_t got = 9;
    TEST_ST(env_pread(e, a, buf, 2, 0, &got, &err), ST_IO);
    assert_int_equal(got, 0);
    env_sim_faults_clear(sim);
    env_sim_fault(sim, &(struct env_sim_fault){.st = ST_NOSPACE, .effect = ENV_SIM_FAIL_DONE});
    struct env_file *c;
    TEST_ST(env_open(e, "/c", ENV_RDWR | ENV_CREATE, &c, &err), ST_NOSPACE);
    assert_null(c);
    assert_true(exists(sim, "/c"));
    env_sim_faults_clear(sim);
    env_close(e, a);
    env_close(e, b);
    env_sim_destroy(sim);
}

static void failed_sync_loses_pages(void **state)
{
    (void)state;
    unsigned lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct env_sim *sim = new_sim(seed);
        struct env *e = env_sim_env(sim);
        bool cached = seed % 2 == 0;
        struct env_file *f = open_at(sim, "/f");
        sync_dir(sim, "/");
        put(sim, f, 0, "old!", 4);
        sync_file(sim, f);
        put(sim, f, 0, "new!", 4);
        env_sim_fault(
            sim, &(struct env_sim_fault){.kinds = ENV_SIM_BIT(ENV_SIM_DATASYNC),
                                         .times = 1,
                                         .effect = cached ? ENV_SIM_FAIL_CACHED : ENV_SIM_FAIL});
        TEST_ST(env_datasync(e, f, NULL), ST_IO);
        sync_file(sim, f); /* the lie: says ok, brings nothing back */
        char before[4], after[4];
        size_t got;
        TEST_OK(env_pread(e, f, before, 4, 0, &got, NULL), NULL);
        assert_true(IMPLIES(cached, memcmp(before, "new!", 4) == 0));
        env_drop_cache(e, f, 0, 0);
        TEST_OK(env_pread(e, f, after, 4, 0, &got, NULL), NULL);
        assert_true(IMPLIES(!cached, memcmp(before, after, 4) == 0));
        env_close(e, f);
        env_sim_power_loss(sim, seed);
        TEST_OK(env_sim_file_read(sim, "/f", 0, before, 4), NULL);
        assert_memory_equal(before, after, 4);
        lost += after[0] == 'o';
        kept += after[0] == 'n';
        env_sim_destroy(sim);
    }
    assert_int_equal(lost + kept, 200);
    assert_true(lost > 30 && kept > 30);
}

static void lies_are_believed_until_power_fails(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    struct env_file *f = open_at(sim, "/f");
    put(sim, f, 0, "old!", 4);
    sync_file(sim, f);
    sync_dir(sim, "/");
    env_sim_fault(sim, &(struct env_sim_fault){
                           .kinds = ENV_SIM_BIT(ENV_SIM_WRITE), .times = 1, .effect = ENV_SIM_LIE});
    put(sim, f, 0, "new!", 4); /* lost by the device */
    sync_file(sim, f);
    char buf[4];
    size_t got;
    TEST_OK(env_pread(e, f, buf, 4, 0, &got, NULL), NULL);
    assert_memory_equal(buf, "new!", 4);
    env_drop_cache(e, f, 0, 4);
    TEST_OK(env_pread(e, f, buf, 4, 0, &got, NULL), NULL);
    assert_memory_equal(buf, "old!", 4);
    env_sim_fault(sim, &(struct env_sim_fault){.kinds = ENV_SIM_BIT(ENV_SIM_DATASYNC),
                                               .effect = ENV_SIM_LIE});
    put(sim, f, 0, "newr", 4);
    sync_file(sim, f);
    assert_false(env_sim_all_synced(sim, "/f"));
    env_close(e, f);
    env_sim_destroy(sim);
}

static void full_disk_refuses_growth_only(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env *e = env_sim_env(sim);
    env_sim_set_disk_bytes(sim, 10 * BASE_PAGE);
    struct env_file *f = open_at(sim, "/f"), *g = open_at(sim, "/g");
    TEST_OK(env_fallocate(e, f, 0, 8 * BASE_PAGE, NULL), NULL);
    TEST_ST(env_fallocate(e, g, 0, 3 * BASE_PAGE, NULL), ST_NOSPACE);
    uint8_t buf[3 * BASE_PAGE] = {1};
    struct err err;
    TEST_ST(env_pwrite(e, g, buf, sizeof(buf), 0, &err), ST_NOSPACE);
    assert_int_equal(err.os_errno, 28);
    uint64_t size, free_bytes, total;
    TEST_OK(env_size(e, g, &size, NULL), NULL);
    assert_int_equal(size, 2 * BASE_PAGE); /* what fitted was written */
    put(sim, f, 0, buf, sizeof(buf));      /* preallocated space can be written */
    TEST_OK(env_space(e, "/", &free_bytes, &total, NULL), NULL);
    assert_int_equal(free_bytes, 0);
    TEST_OK(env_unlink(e, "/f", NULL), NULL);
    TEST_OK(env_space(e, "/", &free_bytes, &total, NULL), NULL);
    assert_int_equal(free_bytes, 0); /* still open */
    env_close(e, f);
    TEST_OK(env_space(e, "/", &free_bytes, &total, NULL), NULL);
    assert_int_equal(free_bytes, 8 * BASE_PAGE);
    TEST_OK(env_truncate(e, g, 0, NULL), NULL);
    assert_int_equal(env_sim_used_bytes(sim), 0);
    env_close(e, g);
    env_sim_destroy(sim);
}

static void rot_reaches_the_device(void **state)
{
    (void)state;
    struct env_sim *sim = new_sim(0);
    struct env_file *f = open_at(sim, "/f");
    put(sim, f, 5000, "data", 4);
    sync_file(sim, f);
    sync_dir(sim, "/");
    TEST_OK(env_sim_flip_bit(sim, "/f", 5000, 1), NULL);
    TEST_ST(env_sim_flip_bit(sim, "/f", 5004, 1), ST_INVALID);
    TEST_ST(env_sim_flip_bit(sim, "/g", 0, 1), ST_NOTFOUND);
    env_close(env_sim_env(sim), f);
    env_sim_power_loss(sim, 3);
    char buf[4];
    TEST_OK(env_sim_file_read(sim, "/f", 5000, buf, 4), NULL);
    assert_memory_equal(buf, "fata", 4);
    env_sim_destroy(sim);
}

static void trace_tells_order(void **arg_state);

struct order {
    char text[512];
};

static void note_op(void *arg, const struct env_sim_op *op)
{
    struct order *o = arg;
    size_t at = strlen(o->text);
    (void)snprintf(o->text + at, sizeof(o->text) - at, "%s %s%s%s%s\n", env_sim_kind_name(op->kind),
                   op->path, op->path2 == NULL ? "" : " ", op->path2 == NULL ? "" : op->path2,
                   op->result == ST_OK ? "" : " failed");
}

static void trace_tells_order(void **arg_state)
{
    (void)arg_state;
    struct env_sim *sim = new_sim(0);
    struct order o = {{0}};
    env_sim_set_trace(sim, note_op, &o);
    int d = 0;
    env_sim_crash_at(sim, 8, false);
    TEST_ST(scenario(env_sim_env(sim), &d), ST_IO);
    assert_string_equal(o.text,
                        "mkdir /s\ndirsync /\ncreate /s/new\ntruncate /s/new\nwrite /s/new\n"
                        "datasync /s/new\nrename /s/new /s/cur\ndirsync /s failed\n");
    env_sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_and_data_are_synced_apart),
        cmocka_unit_test(directory_goes_with_its_content),
        cmocka_unit_test(sectors_hold_versions_of_their_history),
        cmocka_unit_test(truncation_is_atomic_with_its_bytes),
        cmocka_unit_test(synced_removal_stays_removed),
        cmocka_unit_test(unsynced_pages_stay_in_the_cache),
        cmocka_unit_test(saved_disk_does_not_change),
        cmocka_unit_test(rename_is_atomic),
        cmocka_unit_test(names_are_neither_lost_nor_doubled),
        cmocka_unit_test(emptied_directory_does_not_take_files_along),
        cmocka_unit_test(process_crash_keeps_everything),
        cmocka_unit_test(crash_sweep_finds_no_hole_in_a_right_protocol),
        cmocka_unit_test(saved_disks_replay_a_sweep),
        cmocka_unit_test(clone_loses_what_the_original_loses),
        cmocka_unit_test(faults_hit_where_told),
        cmocka_unit_test(failed_sync_loses_pages),
        cmocka_unit_test(lies_are_believed_until_power_fails),
        cmocka_unit_test(full_disk_refuses_growth_only),
        cmocka_unit_test(rot_reaches_the_device),
        cmocka_unit_test(trace_tells_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

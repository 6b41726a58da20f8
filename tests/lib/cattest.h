/* What the catalogue's tests share: a store on the simulated disk, random transactions, and a
 * digest of all rows. */
#ifndef TESTS_LIB_CATTEST_H
#define TESTS_LIB_CATTEST_H

#include "engine/base/env_sim.h"
#include "engine/catalogue.h"
#include "engine/store_file.h"
#include "tests/lib/testlib.h"

#define CT_ROOT "/store"
#define CT_GENS_MAX 512u

struct ct {
    struct env_sim *sim; /* owned */
    struct env *env;
    struct store_ident ident;
    struct cat *cat; /* owned; NULL: closed */
    uint64_t wal_bytes_max, log_bytes_min;
};

/* A fresh simulated machine with the root directory, nothing else. */
void ct_init(struct ct *t, uint64_t seed);
void ct_fini(struct ct *t);
/* STORE, then the catalogue. Anything but ST_OK leaves cat NULL. */
enum st ct_open(struct ct *t, bool create, struct err *err);
void ct_open_ok(struct ct *t, bool create);
void ct_close(struct ct *t, bool clean);
/* What a crashed process leaves: handles dropped, nothing written. */
void ct_abandon(struct ct *t);

/* A digest of every row and of next_gid. */
uint64_t ct_digest(struct cat *cat);
struct ct_counts {
    unsigned accounts, streams, stream_ckpts, consumers, consumer_ckpts, segments, segdels, purges,
        lanes, damages;
    unsigned tombstones;
};
void ct_count(struct cat *cat, struct ct_counts *out);

/* A random transaction over a small key space: puts, replacements, deletes, tombstones, blobs up to
 * max_blob. */
struct cat_txn *ct_random_txn(struct prng *p, unsigned rows, size_t max_blob);
/* Puts a live stream called `name`. */
void ct_put_stream(struct cat_txn *txn, uint32_t gid, const char *name);
/* Commits and destroys; the generation. */
uint64_t ct_commit_ok(struct ct *t, struct cat_txn *txn);

#endif

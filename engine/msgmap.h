/* What the owner must know of every live message without reading it: the subject (as the index's
 * entry id) and the logical size. Pages of 4096 sequences, made on the first message in them and
 * freed with the last, so that memory follows live messages (8 B each where they are dense), and
 * not how far apart they are: 512 pages have a table, and only tables with a page exist. Owner
 * thread; no I/O. */
#ifndef ENGINE_MSGMAP_H
#define ENGINE_MSGMAP_H

#include "engine/base/base.h"

struct msgmap_table; /* private */
struct msgmap {
    struct msgmap_table **tables; /* owned, by number */
    size_t ntables, cap;
};

void msgmap_init(struct msgmap *m);
void msgmap_fini(struct msgmap *m);
/* Sets a live message. id is not 0. Sequences are set in any order (ascending is cheap). */
void msgmap_set(struct msgmap *m, uint64_t seq, uint32_t id, uint32_t size);
/* False when the sequence is not live. */
bool msgmap_get(const struct msgmap *m, uint64_t seq, uint32_t *id_out, uint32_t *size_out);
/* Forgets one; false when it was not live. */
bool msgmap_clear(struct msgmap *m, uint64_t seq);
/* Forgets everything. */
void msgmap_reset(struct msgmap *m);

#endif

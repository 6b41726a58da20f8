/* Going through an archive with every check there is: frames, their order, the order and number of
 * messages, sums, manifest. Verifying is a walk without callbacks; restoring is one with them. */
#ifndef ENGINE_ARCHIVE_WALK_H
#define ENGINE_ARCHIVE_WALK_H

#include "engine/archive.h"

struct arc_walk {
    /* Each may be NULL; what they return other than ST_OK ends the walk. */
    enum st (*stream)(void *arg, const struct arc_stream *s, struct err *err);
    enum st (*cons)(void *arg, const struct snap_cons *c, struct err *err);
    enum st (*msg)(void *arg, const struct msg *m, struct err *err);
    enum st (*window)(void *arg, const uint8_t *p, size_t len, struct err *err); /* window.c */
    enum st (*end)(void *arg, const struct arc_entry *e, struct err *err);
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes of the file */
    void *arg;
    /* result */
    uint64_t streams, consumers, msgs, bytes;
};
MUST_USE enum st arc_walk(struct arc_reader *r, struct arc_walk *w, struct err *err);

#endif

/* Admission of publishes: what stream_append.c and stream_batch.c share. Private to engine/. */
#ifndef ENGINE_STREAM_ADMIT_H
#define ENGINE_STREAM_ADMIT_H

#include "engine/eng.h"

/* Whether the caller wants it refused at this place. */
bool stream_refused(const struct store_append *a, enum append_refuse here,
                    struct store_append_result *r);
/* Expected-Last-Msg-Id is another. */
bool stream_other_last_id(struct store_stream *s, const struct store_append *a,
                          struct store_append_result *r);
/* All checks of one message in the order of a batch's, then its expected last id. */
bool stream_check_in_batch(struct store_stream *s, const struct store_append *a,
                           struct store_append_result *r);
/* What concerns the message and the config alone. False: r->verdict says why. */
bool stream_check_config(const struct store_stream *s, const struct store_append *a,
                         struct store_append_result *r);
/* True when the id is in the window; *seq_out is the original's. */
bool stream_is_duplicate(struct store_stream *s, const struct store_append *a, uint64_t *seq_out);
/* The subject's (or filter's) last sequence, 0 = none. */
uint64_t stream_last_of(const struct store_stream *s, const char *subject, size_t len);
/* Plans what the message evicts, then writes and applies it. ST_OK with r->verdict (STORED: r->seq)
 * ; ST_FULL, ST_NOMEM: nothing was taken. rec_flags: REC_BATCH_MORE; own: the engine's
 * own message, or limits and room were asked before. */
MUST_USE enum st stream_admit(struct store_stream *s, const struct store_append *a,
                              uint8_t rec_flags, bool own, struct store_append_result *r);
/* Tells fn when what the answer rests on is durable. */
void stream_answer_append(struct store_stream *s, const struct store_append_result *r,
                          store_append_fn fn, void *arg, uint64_t ticket);

#endif

/* Streams and consumers whose config a later version of this program has written. What only the
 * broker knows of a config stands as JSON in cfg.opaque (js_config.h); a member of it that is not
 * known here means something that this version would not do. Such a stream is offline: it keeps its
 * name, subjects and messages, takes and delivers nothing, and can be deleted; requests get 10194
 * or 10195 with the reason, as at nats-server. Pure functions; any thread. */
#ifndef BROKER_JS_OFFLINE_H
#define BROKER_JS_OFFLINE_H

#include "engine/store.h"

/* Why the config cannot be served, in nats-server's words; to be freed. NULL: it can. */
char *js_offline_stream_reason(const struct stream_cfg *c);
char *js_offline_consumer_reason(const struct cons_cfg *c);
/* The same for a stream with all its consumers. */
char *js_offline_reason(const struct store_ops *ops, struct store_stream *s);

#endif

/* Watches of a bucket. Private to kv/. */
#ifndef KV_WATCH_H
#define KV_WATCH_H

struct kv;

void kv_watch_close_all(struct kv *kv); /* sweeps are told ST_CLOSED */

#endif

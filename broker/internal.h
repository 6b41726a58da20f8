/* The server's own client: publish, subscribe and deliver without a socket. JetStream is built on
 * this.
 *
 * Publishing, whoever does it, goes through one function, brk_publish: (account, subject) ->
 * map_subject -> interest -> deliveries. Loop thread only; nothing here blocks; all bytes are
 * copied (or refused) before the call returns. */
#ifndef BROKER_INTERNAL_H
#define BROKER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "broker/account.h"
#include "broker/interest.h"
#include "broker/msg.h"
#include "engine/base/st.h"

/* Subscribes a callback; `queue` may be empty. The subject must be valid (asserted). The callback
 * runs inside the publish that matched. Internal subscriptions count as interest (no 503) and as
 * deliveries. */
struct brk_sub *brk_isub_create(struct brk_account *acc, struct brk_str subject,
                                struct brk_str queue, brk_msg_cb cb, void *arg);
/* Unsubscribes; the callback is not called again, also when this is called from inside it. NULL is
 * a no-op.
 */
void brk_isub_destroy(struct brk_sub *sub);

/* Publishes to everyone who is interested in msg->subject. Returns the number of deliveries
 * (clients and callbacks; one per queue group); 0: no interest. */
size_t brk_publish(struct brk_account *acc, const struct brk_msg *msg);

/* The subject under which a publish to `subject` is delivered. Valid until brk_map_fini, which must
 * follow, and as long as `subject`. */
struct brk_map {
    char small[256];
    char *large; /* owned; NULL: small sufficed */
};
struct brk_str brk_map_subject(const struct brk_account *acc, struct brk_str subject,
                               struct brk_map *m);
void brk_map_fini(struct brk_map *m);

/* Delivers to whoever is interested in `to`, showing msg->subject (and reply) on the wire: how
 * consumers deliver stored messages. Mappings are not applied. Returns the number of deliveries. */
size_t brk_deliver(struct brk_account *acc, struct brk_str to, const struct brk_msg *msg);
/* As brk_deliver, with headers and payload gathered from parts: the first hdr_len bytes of all
 * parts together are the header block. msg's hdr and payload are ignored. One copy, into each
 * subscriber's out buffer; internal callbacks get a contiguous copy. */
size_t brk_deliver_iov(struct brk_account *acc, struct brk_str to, const struct brk_msg *msg,
                       size_t hdr_len, const struct iovec *parts, int parts_count);

/* True when somebody is subscribed to the literal subject (internal subscriptions count). */
bool brk_account_has_interest(struct brk_account *acc, struct brk_str subject);

/* Tells at the end of a turn that interest in a literal subject came or went (several changes in a
 * turn count as one; none if they cancel out). With a queue name: interest of that queue group;
 * else of plain subscriptions. fn is not called for the state at creation: ask brk_watch_active. */
struct brk_watch;
typedef void (*brk_watch_fn)(void *arg, bool active);
struct brk_watch *brk_watch_create(struct brk_account *acc, struct brk_str subject,
                                   struct brk_str queue, brk_watch_fn fn, void *arg);
/* Frees. NULL is a no-op. May be called from fn. */
void brk_watch_destroy(struct brk_watch *w);
bool brk_watch_active(const struct brk_watch *w);

/* Back-pressure on one who publishes (msg->from) what cannot be taken now: nothing is read from
 * that connection, once what was read of it is parsed, until the server is told to go on. */
void brk_publisher_hold(struct brk_conn *from);
void brk_publishers_go(struct brk_server *s);

/* Bytes that wait in the out buffers of the clients which a message to `to` would reach: the
 * largest of them. Lets a consumer hold back before a slow client is cut off. 0 when there is no
 * interest. */
size_t brk_deliver_pending(struct brk_account *acc, struct brk_str to);

#endif

/* Which nats-server we speak as: in INFO, /varz, --version and the metadata of streams and
 * consumers. Clients switch features on by it, so it names what is served whole and nothing more.
 * Millrace's own version, engine/base/version.h, stands beside it. */
#ifndef BROKER_VERSION_H
#define BROKER_VERSION_H

#define BRK_NATS_VERSION "2.14.5"
/* The JetStream API level that belongs to it: 1 is 2.11, 2 is 2.12.0, 3 is 2.12.5, 4 is 2.14. */
#define JS_API_LEVEL 4u

#endif

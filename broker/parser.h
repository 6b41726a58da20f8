/* The client protocol, from bytes to operations, without sockets: can be fuzzed and split at any
 * byte.
 *
 * Grammar: https://docs.nats.io/reference/reference-protocols/nats-protocol ; errors and corner
 * cases as nats-server 2.14 has them, found by running byte scripts against it
 * (tests/integration/protocol).
 *
 * Works in place: the caller hands a buffer, operations are called back with pointers into it. What
 * is left of an unfinished operation is kept by the parser: a control line or a small message is
 * *carried* (copied in front of the next read by brk_parser_room), a large payload is assembled
 * once, in a buffer of its own, into which the caller reads directly. So a message is copied at
 * most once, and a connection that is between messages owns no buffer at all.
 *
 * Bounds: the carry is at most control_line_max + BRK_CARRY_PAYLOAD_MAX and a verb (after a pause:
 * one read); the assembly payload_max + control_line_max + 2. Invariants: at most one of carry,
 * assembly and skip is in use; nothing is called back after an error or a pause. */
#ifndef BROKER_PARSER_H
#define BROKER_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/msg.h"

/* Unfinished messages up to this size are carried, larger ones assembled. */
#define BRK_CARRY_PAYLOAD_MAX ((size_t)16 * 1024)

enum brk_parse {
    BRK_PARSE_OK,    /* everything was used; what is unfinished is kept */
    BRK_PARSE_PAUSE, /* an operation asked to stop; the rest is kept for brk_parser_resume */
    BRK_PARSE_CLOSE, /* an operation asked to close, or an error was reported: feed no more */
};

/* What an operation answers. */
enum brk_op { BRK_OP_GO, BRK_OP_PAUSE, BRK_OP_CLOSE };

enum brk_parse_error {
    BRK_PERR_UNKNOWN_OP,   /* no such verb, or a payload without its CRLF */
    BRK_PERR_CONTROL_LINE, /* arguments longer than control_line_max */
    BRK_PERR_PUB_ARGS,     /* PUB with the wrong number of arguments */
    BRK_PERR_PUB_SIZE,     /* PUB: a size that is not a number of at most 9 digits */
    BRK_PERR_HPUB_ARGS,    /* HPUB with the wrong number of arguments */
    BRK_PERR_HPUB_SIZE,    /* HPUB: bad total size */
    BRK_PERR_HPUB_HDR,     /* HPUB: bad header size */
    BRK_PERR_HPUB_LARGER,  /* HPUB: header size larger than the total */
    BRK_PERR_NO_HEADERS,   /* HPUB where headers are off */
    BRK_PERR_SUB_ARGS,
    BRK_PERR_UNSUB_ARGS,
    BRK_PERR_MAX_PAYLOAD, /* size over payload_max */
    BRK_PERR_NO_MEMORY,   /* no room for a payload that is allowed */
};

struct brk_parse_fault {
    enum brk_parse_error what;
    struct brk_str
        near; /* the bytes that were wrong: arguments, or what follows the bad byte; for the log */
    uint64_t size; /* MAX_PAYLOAD: what was announced */
};

struct brk_pub_args {
    struct brk_str subject, reply;
    size_t hdr_len;   /* 0: PUB */
    size_t total_len; /* headers and payload */
};

/* Operations. Pointers are valid during the call. `arg` is the parser's. */
struct brk_parse_ops {
    /* Called at the first byte of each operation but CONNECT while `login` is set: BRK_OP_GO lets
     * it pass. */
    enum brk_op (*before_login)(void *arg);
    enum brk_op (*connect)(void *arg, struct brk_str json);
    enum brk_op (*ping)(void *arg);
    enum brk_op (*pong)(void *arg);
    enum brk_op (*info)(void *arg, struct brk_str json);
    enum brk_op (*err)(void *arg, struct brk_str text);
    enum brk_op (*sub)(void *arg, struct brk_str subject, struct brk_str queue, struct brk_str sid);
    enum brk_op (*unsub)(void *arg, struct brk_str sid, uint64_t max);
    /* The line of PUB/HPUB was read and is valid; the payload may not be there yet. Called once per
     * message.
     */
    enum brk_op (*pub_line)(void *arg, const struct brk_pub_args *args);
    enum brk_op (*pub)(void *arg, const struct brk_msg *msg);
    void (*fault)(void *arg, const struct brk_parse_fault *f);
};

struct brk_parser {
    const struct brk_parse_ops *ops; /* borrowed */
    void *arg;
    size_t control_line_max; /* bytes of a line's arguments */
    size_t payload_max;      /* bytes of headers and payload */
    bool headers;            /* HPUB is allowed */
    bool login;              /* only CONNECT passes without asking before_login */
    /* private */
    uint8_t *carry; /* owned; NULL: nothing is carried */
    size_t carry_len;
    uint8_t *blob;                 /* owned; a large message: subject and reply, then the payload */
    size_t blob_at;                /* where the payload starts */
    size_t blob_have;              /* bytes of payload and CRLF that came */
    struct brk_pub_args blob_args; /* subject and reply point into blob */
    bool line_seen;                /* pub_line was called for the message that is carried */
    uint8_t skip; /* verb whose line is skipped to its end: PING, PONG, +OK; 0: none */
};

void brk_parser_init(struct brk_parser *p, const struct brk_parse_ops *ops, void *arg);
void brk_parser_fini(struct brk_parser *p);
/* Gives room for the next read: the rest of an assembly, or `shared` (of shared_len > carry bytes)
 * behind what is carried, which is copied to its start. The bytes read are then handed to
 * brk_parser_feed. */
uint8_t *brk_parser_room(struct brk_parser *p, uint8_t *shared, size_t shared_len,
                         size_t *room_out);
/* Takes len bytes, read to where brk_parser_room said. */
enum brk_parse brk_parser_feed(struct brk_parser *p, uint8_t *buf, size_t len);
/* Goes on after a pause with what was kept. */
enum brk_parse brk_parser_resume(struct brk_parser *p);

#endif

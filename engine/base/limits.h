/* The limits that clients, operators or several files see: unit, why this value, and how they hang
 * together. A bound that is one file's own stands at the top of that file.
 *
 * A default that the config can change ends in _DEFAULT; what it may be changed to, in _MAX or
 * _MIN. A value that nats-server documents is its value, so that clients and tools meet no
 * surprise. At each bound stands what happens there: refuse (an error to the caller), close (the
 * connection), or wait (backpressure). */
#ifndef ENGINE_BASE_LIMITS_H
#define ENGINE_BASE_LIMITS_H

#include "engine/base/base.h"

/* One line a limit, however long. */
/* clang-format off */
/* --- protocol (as nats-server) --- */
#define LIM_PAYLOAD_BYTES_DEFAULT (1 * MIB) /* headers and payload of one message; beyond: close */
#define LIM_PAYLOAD_BYTES_WARN (8 * MIB)    /* config above this gets a warning line */
#define LIM_CONTROL_LINE_BYTES_DEFAULT (4 * KIB) /* one protocol line without its payload; beyond: close */
#define LIM_HEADER_BYTES_MAX 65535u  /* a stored message's header block; beyond: refuse (10097) */
#define LIM_SUBJECT_BYTES_MAX 65535u /* MSG.subj_len is 16 bits; the control line bounds it earlier by default */
#define LIM_SUBJECT_TOKENS_MAX 1024u /* deeper recursion in the index buys nobody anything; beyond: refuse */

/* --- connections --- */
#define LIM_CONNECTIONS_DEFAULT 65536        /* beyond: close the new one */
#define LIM_PENDING_BYTES_DEFAULT (64 * MIB) /* unsent to one client; beyond: close (slow consumer) */
#define LIM_PINGS_OUT_DEFAULT 2              /* unanswered pings; beyond: close (stale) */
#define LIM_CLOSED_CLIENTS_DEFAULT 10000     /* remembered for /connz; oldest go */

/* --- JetStream API (as nats-server) --- */
#define LIM_NAME_BYTES_MAX 255u               /* stream or consumer name; beyond: refuse */
#define LIM_DESCRIPTION_BYTES_MAX 4096u       /* beyond: refuse */
#define LIM_METADATA_BYTES_MAX (128 * KIB)    /* keys and values of one config; beyond: refuse */
#define LIM_LIST_PAGE 256u                    /* streams or consumers with info in one answer */
#define LIM_NAMES_PAGE 1024u                  /* names in one answer */
#define LIM_SUBJECT_DETAILS_PAGE 100000u      /* subjects in one stream info */
#define LIM_MULTI_LAST_SUBJECTS_MAX 1024u     /* results of a direct get's multi_last; beyond: refuse (413) */
#define LIM_REPLICAS_MAX 5u
#define LIM_DUP_WINDOW_NS_DEFAULT (120 * NS_PER_S)
#define LIM_ACK_WAIT_NS_DEFAULT (30 * NS_PER_S)
#define LIM_ACK_PENDING_DEFAULT 1000          /* unacked messages of one consumer; beyond: delivery waits */
#define LIM_PULL_WAITING_DEFAULT 512          /* waiting pull requests of one consumer; beyond: refuse (409) */
#define LIM_BATCH_MSGS_MAX 1000u              /* of an atomic batch; beyond: refuse (10199) */
#define LIM_BATCH_OPEN_PER_STREAM 50u         /* atomic batches; beyond: refuse (10210) */
#define LIM_BATCH_OPEN_TOTAL 1000u
#define LIM_BATCH_ID_BYTES_MAX 64u
#define LIM_BATCH_IDLE_MS_MAX 10000           /* a batch left open this long is dropped */

/* --- journal --- */
#define LIM_JOURNAL_CHUNK_BYTES (256 * KIB)         /* owner's open chunk: one copy, few hand-overs */
#define LIM_JOURNAL_LARGE_CHUNK_BYTES (2 * MIB)     /* for records above LIM_JOURNAL_LARGE_BYTES: one huge page holds many */
#define LIM_JOURNAL_LARGE_BYTES (64 * KIB)
#define LIM_JOURNAL_GATHER_BYTES_MAX (4 * MIB)      /* a group; more would delay its first ack past one sync */
#define LIM_JOURNAL_GATHER_PLACED_BYTES_MAX (16 * MIB) /* the same where large messages are written to segments at once */
#define LIM_JOURNAL_FILE_BYTES_MIN (4 * MIB)        /* the first file: a fresh store stays under 16 MiB */
#define LIM_JOURNAL_FILE_BYTES_MAX (64 * MIB)       /* bounds what a recovery reads past the checkpoint per file */
#define LIM_JOURNAL_WINDOW_BYTES_DEFAULT (256 * MIB) /* not yet checkpointed; beyond 95 %: publishers wait */
#define LIM_JOURNAL_CHECKPOINT_PERCENT 25u          /* what is not yet checkpointed is also in memory */
#define LIM_JOURNAL_STOP_PERCENT 95u
#define LIM_JOURNAL_LARGE_PERCENT 40u               /* beyond, large records wait: filling more memory costs more than that */
#define LIM_JOURNAL_IDLE_NS (10 * NS_PER_MS)        /* then an IDLE group records the last durability */

/* --- segments and catalogue --- */
#define LIM_SEGMENT_BYTES_TARGET (64 * MIB) /* a segment is sealed at this size */
#define LIM_BLOCK_BYTES_TARGET (64 * KIB)   /* raw; what one read costs */
#define LIM_ROW_LOG_BYTES_MIN (4 * MIB)     /* a new full dump only above this */

/* --- memory (ceilings, touched lazily) --- */
#define LIM_TAIL_STREAM_BYTES (16 * MIB) /* one stream's messages that no segment has: a checkpoint of it begins */
#define LIM_BLOCK_CACHE_BYTES_DEFAULT (192 * MIB) /* of decoded blocks; what readers in order leave keeps a twelfth */

/* --- disk --- */
#define LIM_LOW_WATER_BYTES (1 * GIB) /* free space; the larger of this and the percent, but ... */
#define LIM_LOW_WATER_PERCENT 3u
#define LIM_LOW_WATER_PERCENT_MAX 10u /* ... never more than this of a small disk; below: publishes refused (10047) */
#define LIM_BALLAST_BYTES_MIN (1 * MIB) /* reserved, and given back for a checkpoint on a full disk (ballast.h) */

_Static_assert(LIM_PAYLOAD_BYTES_DEFAULT < LIM_PENDING_BYTES_DEFAULT, "a client can be sent one message");
_Static_assert(LIM_HEADER_BYTES_MAX < LIM_PAYLOAD_BYTES_DEFAULT, "headers are part of the payload limit");
_Static_assert(LIM_CONTROL_LINE_BYTES_DEFAULT < LIM_SUBJECT_BYTES_MAX, "the line refuses a long subject first");
_Static_assert(LIM_JOURNAL_CHUNK_BYTES < LIM_JOURNAL_GATHER_BYTES_MAX, "a gather takes several chunks");
_Static_assert(LIM_JOURNAL_LARGE_CHUNK_BYTES < LIM_JOURNAL_GATHER_BYTES_MAX, "of the large ones too");
_Static_assert(LIM_JOURNAL_GATHER_BYTES_MAX < LIM_JOURNAL_FILE_BYTES_MAX, "a group fits into a file");
_Static_assert(LIM_JOURNAL_FILE_BYTES_MIN % BASE_PAGE == 0, "groups lie on pages");
_Static_assert(LIM_JOURNAL_FILE_BYTES_MAX * 2 <= LIM_JOURNAL_WINDOW_BYTES_DEFAULT, "one file fills, one is released");
_Static_assert(LIM_JOURNAL_CHECKPOINT_PERCENT < LIM_JOURNAL_LARGE_PERCENT, "a lap begins before large records wait");
_Static_assert(LIM_JOURNAL_LARGE_PERCENT < LIM_JOURNAL_STOP_PERCENT, "large ones wait before all do");
_Static_assert(LIM_LOW_WATER_PERCENT <= LIM_LOW_WATER_PERCENT_MAX, "the ceiling is above");

/* clang-format on */
#endif

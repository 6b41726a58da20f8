/* The JSON of CONNECT. Keys and types as upstream's: unknown keys are ignored, keys match without
 * regard to case, null leaves a default, a wrong type is an error. Loop thread only. */
#ifndef BROKER_CONNECT_H
#define BROKER_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/msg.h"
#include "engine/base/err.h"

struct brk_connect {
    bool verbose, pedantic, echo, headers, no_responders;
    int64_t protocol;
    char *user, *pass, *token;   /* owned; NULL: not given. pass and token are wiped by fini */
    char *name, *lang, *version; /* owned; NULL: not given */
};

/* Reads over what *c holds, which must be initialised (defaults, or an earlier CONNECT's).
 * ST_INVALID with a text that holds no secret; *c then still needs brk_connect_fini. */
MUST_USE enum st brk_connect_parse(struct brk_connect *c, struct brk_str json, struct err *err);
/* Wipes secrets and frees; leaves zeroes. */
void brk_connect_fini(struct brk_connect *c);
/* Frees a secret's copy, zeroes first. NULL is a no-op. */
void brk_secret_free(char *s);

#endif

/* HTTP/1.x requests and answer heads of the monitoring port: the only file that knows
 * libhttp-parser. No sockets here.
 *
 * A request is taken only when its whole head has come, at most BRK_HTTP_HEAD_MAX bytes. Before the
 * library sees it, the head is held against what the library lets pass and other HTTP software
 * reads differently (that is how requests are smuggled): every line ends in CR LF, no folded lines,
 * no control bytes, a header's name is a token directly followed by its colon, exactly one Host
 * (RFC 9112, 2.2, 3.2, 5.1). Bodies are not taken: a request that announces one is refused and its
 * connection closed. Pure functions; any thread. */
#ifndef BROKER_HTTP_H
#define BROKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BRK_HTTP_HEAD_MAX ((size_t)16 * 1024)
#define BRK_HTTP_PATH_MAX 512u   /* bytes, decoded */
#define BRK_HTTP_QUERY_MAX 4096u /* bytes, as it came */
#define BRK_HTTP_VALUE_MAX 1024u /* bytes of a parameter's value, decoded */
#define BRK_HTTP_ANSWER_HEAD_MAX 512u

enum brk_http_take { BRK_HTTP_MORE, BRK_HTTP_READY, BRK_HTTP_REFUSED };

struct brk_http_request {
    bool head;                          /* HEAD: the answer goes without its body */
    bool keep_alive;                    /* another request may follow on the connection */
    int status;                         /* REFUSED: the answer's status */
    const char *why;                    /* REFUSED: static text */
    char path[BRK_HTTP_PATH_MAX + 1];   /* decoded; no NUL or control byte inside */
    char query[BRK_HTTP_QUERY_MAX + 1]; /* as it came; "" without one */
};

/* Looks for a request at the start of buf. *seen is how much of buf an earlier call has looked at
 * (0 at first). READY: *used_out bytes belong to it. REFUSED: status and why say so, and nothing
 * behind can be trusted: answer and close. */
enum brk_http_take brk_http_take(const uint8_t *buf, size_t len, size_t *seen,
                                 struct brk_http_request *r, size_t *used_out);

enum brk_http_param { BRK_HTTP_ABSENT, BRK_HTTP_FOUND, BRK_HTTP_BAD };
/* Finds a query parameter, the first of that name, and decodes it into out (BRK_HTTP_VALUE_MAX + 1
 * bytes, ends in a NUL;
 * "" unless FOUND). BAD: it is too long, or holds an escape that is none or stands for a control
 * byte. */
enum brk_http_param brk_http_param(const struct brk_http_request *r, const char *name, char *out);

struct brk_http_answer {
    int status;
    const char *type; /* of the body */
    size_t body_len;
    bool keep_alive;
    int64_t now_ns; /* wall clock, for Date */
};
/* Writes the answer's head into out (BRK_HTTP_ANSWER_HEAD_MAX bytes); returns its length. */
size_t brk_http_answer_head(const struct brk_http_answer *a, char *out);
/* "Not Found". */
const char *brk_http_status_text(int status);

#endif

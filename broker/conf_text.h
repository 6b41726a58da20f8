/* The lower half of the config parser: the text being read, where in it we are, words, strings, and
 * what a bare word means. Private to conf_parse.c and conf_text.c. Role: main thread. */
#ifndef BROKER_CONF_TEXT_H
#define BROKER_CONF_TEXT_H

#include "broker/conf.h"

struct brk_conf_block; /* memory of the tree */
struct brk_conf_env;   /* conf_parse.c: variables being resolved */

struct brk_conf {
    struct brk_conf_block *blocks; /* owned; everything else lives in them */
    struct brk_conf_value *root;
    size_t bytes_read;
};

struct brk_conf_parser {
    struct brk_conf *conf;
    const struct brk_conf_source *src;
    const char *file; /* owned by conf */
    const char *text;
    size_t len, at;
    size_t line_start;
    uint32_t line;
    unsigned include_depth;
    unsigned nesting;
    const struct brk_conf_pos
        *fixed; /* text of a variable: everything stands where the reference stands */
    const struct brk_conf_env *env; /* innermost variable being resolved */
    struct err *err;
};

#define BRK_CONF_END (-1) /* brk_conf_peek at the end of the text */

/* Zeroed memory that lives as long as the tree. */
void *brk_conf_grab(struct brk_conf *c, size_t n);
/* A zero-terminated copy that lives as long as the tree. */
char *brk_conf_grab_text(struct brk_conf *c, const char *s, size_t len);

static inline int brk_conf_peek(const struct brk_conf_parser *p)
{
    return p->at < p->len ? (unsigned char)p->text[p->at] : BRK_CONF_END;
}
void brk_conf_step(struct brk_conf_parser *p);
/* Where the cursor stands, or what it stands for. */
struct brk_conf_pos brk_conf_here(const struct brk_conf_parser *p);
/* Fills p->err with `file:line:column: text`; returns ST_INVALID. */
enum st brk_conf_fail(const struct brk_conf_parser *p, struct brk_conf_pos pos, const char *fmt,
                      ...) __attribute__((format(printf, 3, 4)));
/* What stands at the cursor, for messages; `buf` may hold it. */
const char *brk_conf_found(const struct brk_conf_parser *p, char buf[24]);

bool brk_conf_is_blank(int c);
/* True for what ends a bare word. */
bool brk_conf_ends_word(int c);
void brk_conf_skip_blanks(struct brk_conf_parser *p);
/* Blanks and new lines. */
void brk_conf_skip_lines(struct brk_conf_parser *p);
/* Blanks, new lines and comments; true when a new line was among them. */
bool brk_conf_skip_space(struct brk_conf_parser *p);

/* Reads up to the closing quote (`quote` is '"' or '\'') or, with quote 0, a bare word. The result
 * lives in the tree. */
MUST_USE enum st brk_conf_read_text(struct brk_conf_parser *p, char quote, const char **text_out,
                                    size_t *len_out);
/* Gives a bare word (v->text, v->pos) its kind: boolean, integer, float, date, or string. */
MUST_USE enum st brk_conf_classify(struct brk_conf_parser *p, struct brk_conf_value *v);

#endif

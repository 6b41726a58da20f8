#include "engine/base/st.h"

struct st_row {
    const char *name, *text;
    enum st_advice advice;
};

static const struct st_row rows[] = {
#define X(code, text, advice) [code] = {#code, text, ST_ADV_##advice},
    ST_LIST(X)
#undef X
};

static const struct st_row unknown = {"ST_UNKNOWN", "unknown status", ST_ADV_FATAL};

static const struct st_row *row(enum st code)
{
    return (unsigned)code < ST_COUNT ? &rows[code] : &unknown;
}

const char *st_text(enum st code)
{
    return row(code)->text;
}

const char *st_name(enum st code)
{
    return row(code)->name;
}

enum st_advice st_advice(enum st code)
{
    return row(code)->advice;
}

enum st st_merge(enum st first, enum st next)
{
    if (first == ST_OK) {
        return next;
    }
    if (st_advice(next) == ST_ADV_FATAL && st_advice(first) != ST_ADV_FATAL) {
        return next;
    }
    return first;
}

/* The SQL of migrations/, compiled in by tools/embed_sql.sh. */
#ifndef ENGINE_MIGRATIONS_H
#define ENGINE_MIGRATIONS_H

struct migration {
    int version;      /* 1, 2, 3 ... without a gap */
    const char *name; /* file name */
    const char *sql;
};
extern const struct migration migrations[];
extern const int migrations_count;

#endif

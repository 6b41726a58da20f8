/* The config language: what each text means, as canonical JSON, and the exact error of each bad
 * one.
 *
 * The JSON of every line of `good` but those marked "ours" was compared with a real
 * nats-server 2.14: its
 * `-t` prints the SHA-256 of the same JSON. Lines marked "ours" are accepted here and not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/conf.h"
#include "engine/base/base.h"

struct file {
    const char *path, *text;
};

static const struct file files[] = {
    {"inc.conf", "Y: foo\n"}, {"sub/a.conf", "include b.conf\nz: 1"}, {"sub/b.conf", "deep: yes"},
    {"/abs.conf", "abs: 1"},  {"self.conf", "include self.conf"},     {"bad.conf", "a: 1\n  b: [1"},
    {"uses.conf", "v: $X"},   {"braces.conf", "{\"q\": 1}"},          {"empty.conf", ""},
};

static enum st read_fake(void *arg, const char *path, char **text_out, size_t *len_out,
                         struct err *err)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (strcmp(files[i].path, path) == 0) {
            *len_out = strlen(files[i].text);
            *text_out = base_strndup(files[i].text, *len_out);
            return ST_OK;
        }
    }
    return err_set(err, ST_NOTFOUND, 0, "no such file");
}

static const char *env_fake(void *arg, const char *name)
{
    static const char *const vars[][2] = {
        {"E_INT", "7"},          {"E_STR", "foo"},    {"E_QUOTED", "\"q x\""}, {"E_MAP", "{a:1}"},
        {"E_LIST", "[a,b]"},     {"E_REF", "$E_STR"}, {"E_TWO", "a b"},        {"E_EMPTY", ""},
        {"E_CYCLE", "$E_CYCLE"}, {"E_SIZE", "8k"},    {"E_COMMENT", "x # y"},  {"E_A", "$E_B"},
        {"E_B", "$E_A"},         {"E_BAD", "[1"},
    };
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(vars); i++) {
        if (strcmp(vars[i][0], name) == 0) {
            return vars[i][1];
        }
    }
    return NULL;
}

static const struct brk_conf_source source = {read_fake, env_fake, NULL};

static const char *const good[][2] = {
    /* separators and comments */
    {"a: 1", "{\"a\":1}"},
    {"a=1", "{\"a\":1}"},
    {"a 1", "{\"a\":1}"},
    {"a\n1", "{\"a\":1}"},
    {"a: 1, b: 2; c 3", "{\"a\":1,\"b\":2,\"c\":3}"},
    {"a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}"},
    {"# x\n// y\na: 1 # z\nb: 2 // w", "{\"a\":1,\"b\":2}"},
    {"a: #x", "{\"a\":\"#x\"}"},
    {"a //x", "{\"a\":\"//x\"}"},
    {"a: x#y", "{\"a\":\"x#y\"}"},
    {"{a: 1, b: 2}", "{\"a\":1,\"b\":2}"},
    {"{\"a\":1,\n\"b\":[true,null,\"c\"]\n}\n", "{\"a\":1,\"b\":[true,\"null\",\"c\"]}"},
    {"", "{}"},
    {"\n# only a comment", "{}"},
    {"\xef\xbb\xbf"
     "a: 1",
     "{\"a\":1}"},                         /* ours */
    {"a: 1\n, b: 2", "{\"a\":1,\"b\":2}"}, /* ours */
    /* keys */
    {"'a b': 1, \"c d\" 2, x.y: 3, 5: 6", "{\"5\":6,\"a b\":1,\"c d\":2,\"x.y\":3}"},
    {"A: 1, a: 2", "{\"A\":1,\"a\":2}"},
    {"a: 1, a: 2", "{\"a\":2}"},
    {"z: 1, a: 2", "{\"a\":2,\"z\":1}"},
    {"m { $X: b }", "{\"m\":{\"$X\":\"b\"}}"},
    {"\"include\" x", "{\"include\":\"x\"}"},
    {"include: 5", "{\"include\":5}"},
    /* numbers */
    {"a: [1k, 1K, 1kb, 1KB, 1ki, 1KiB ]", "{\"a\":[1000,1000,1024,1024,1024,1024]}"},
    {"a: [1m, 1mb, 1g, 1gb, 1t, 1tib, 1p, 1e ]",
     "{\"a\":[1000000,1048576,1000000000,1073741824,1000000000000,1099511627776,1000000000000000,"
     "1000000000000000000]}"},
    {"a: [-1, -5k, 007, 9223372036854775807 ]", "{\"a\":[-1,-5000,7,9223372036854775807]}"},
    {"a: -9223372036854775808", "{\"a\":-9223372036854775808}"},
    {"a: [1.5, -2.25, 1.0, 0.000001, 0.0000001, 1.0 ]",
     "{\"a\":[1.5,-2.25,1,0.000001,1e-7,1]}"}, /* 1e-7: ours */
    {"a: [10s, 5kx, 1.2.3.4, 1_000, 0x10, 1b, +5]",
     "{\"a\":[\"10s\",\"5kx\",\"1.2.3.4\",\"1_000\",\"0x10\",\"1b\",\"+5\"]}"},
    {"a: [1,2]", "{\"a\":[1,2]}"}, /* ours: upstream wants a blank before ']' */
    {"a: {b: {c: 1}}", "{\"a\":{\"b\":{\"c\":1}}}"},
    {"a: [1e5, 2024-prod, -x, 5k5]", "{\"a\":[\"1e5\",\"2024-prod\",\"-x\",\"5k5\"]}"}, /* ours */
    /* booleans, dates */
    {"a: [true, yes, on, TRUE, Yes, false, no, off, False]",
     "{\"a\":[true,true,true,true,true,false,false,false,false]}"},
    {"a: [trueish, \"true\", t]", "{\"a\":[\"trueish\",\"true\",\"t\"]}"},
    {"a: 2026-05-04T18:53:41Z", "{\"a\":\"2026-05-04T18:53:41Z\"}"},
    {"a: 2024-02-29T00:00:00Z", "{\"a\":\"2024-02-29T00:00:00Z\"}"},
    /* strings */
    {"a: \"x\\n\\t\\r\\\"\\\\\\x41\"", "{\"a\":\"x\\n\\t\\r\\\"\\\\A\"}"},
    {"a: 'x\\n\"'", "{\"a\":\"x\\\\n\\\"\"}"},
    {"a: \"x\ny\"", "{\"a\":\"x\\ny\"}"},
    {"a: ''", "{\"a\":\"\"}"},
    {"a: b\\tc", "{\"a\":\"b\\tc\"}"},
    {"a: (\n x\n)\n", "{\"a\":\"\\n x\\n\"}"},
    {"a: (x)\ny\n)", "{\"a\":\"x)\\ny\\n\"}"},
    {"a: caf\xc3\xa9", "{\"a\":\"caf\xc3\xa9\"}"},
    {"a: \xff", "{\"a\":\"\\ufffd\"}"},
    {"a: <&>", "{\"a\":\"\\u003c\\u0026\\u003e\"}"},
    {"a: nats://u:p@h:1", "{\"a\":\"nats://u:p@h:1\"}"},
    {"a: b{c", "{\"a\":\"b{c\"}"},
    /* arrays, blocks */
    {"a: []", "{\"a\":[]}"},
    {"a: [b\nc\n\n# x\n d # y\n]", "{\"a\":[\"b\",\"c\",\"d\"]}"},
    {"a: [b, c,]", "{\"a\":[\"b\",\"c\"]}"},
    {"a: [[b],[c]]", "{\"a\":[[\"b\"],[\"c\"]]}"},
    {"a: [{b:x},{b:y}]", "{\"a\":[{\"b\":\"x\"},{\"b\":\"y\"}]}"},
    {"a { b 1; c 2 }", "{\"a\":{\"b\":1,\"c\":2}}"},
    {"a\n{\n}", "{\"a\":{}}"},
    {"a: {b: c,}", "{\"a\":{\"b\":\"c\"}}"},
    /* variables */
    {"X: 5\nb: $X", "{\"X\":5,\"b\":5}"},
    {"X: 5\na { b: $X, X: 6, c: $X }", "{\"X\":5,\"a\":{\"X\":6,\"b\":5,\"c\":6}}"},
    {"X: {y: 1}\na: [$X, $X]", "{\"X\":{\"y\":1},\"a\":[{\"y\":1},{\"y\":1}]}"},
    {"X: a\nY: $X\nb: $Y", "{\"X\":\"a\",\"Y\":\"a\",\"b\":\"a\"}"},
    {"X: 5\nX: 6\nb: $X", "{\"X\":6,\"b\":6}"},
    {"a: $E_INT, b: $E_STR, c: $E_QUOTED, d: $E_MAP, e: $E_LIST, f: $E_REF, g: $E_SIZE",
     "{\"a\":7,\"b\":\"foo\",\"c\":\"q "
     "x\",\"d\":{\"a\":1},\"e\":[\"a\",\"b\"],\"f\":\"foo\",\"g\":8000}"},
    {"a: $E_EMPTY, b: $E_COMMENT", "{\"a\":\"\",\"b\":\"x\"}"},
    {"a: $2a$10$abc", "{\"a\":\"$2a$10$abc\"}"},
    {"a: $2b$10$abc", "{\"a\":\"$2b$10$abc\"}"}, /* ours */
    {"a: \"$X\"", "{\"a\":\"$X\"}"},
    {"a: x$X", "{\"a\":\"x$X\"}"},
    /* includes */
    {"include inc.conf\nb: $Y", "{\"Y\":\"foo\",\"b\":\"foo\"}"},
    {"include 'inc.conf'; b: $Y", "{\"Y\":\"foo\",\"b\":\"foo\"}"},
    {"INCLUDE \"inc.conf\" # x\nb: $Y", "{\"Y\":\"foo\",\"b\":\"foo\"}"},
    {"a { include inc.conf }", "{\"a\":{\"Y\":\"foo\"}}"},
    {"a: include", "{\"a\":\"include\"}"},
    {"include sub/a.conf", "{\"deep\":true,\"z\":1}"},
    {"include /abs.conf", "{\"abs\":1}"},
    {"include braces.conf", "{\"q\":1}"},
    {"include empty.conf\na: 1", "{\"a\":1}"},
};

static const char *const bad[][2] = {
    {"a", "t.conf:1:1: key \"a\" has no value"},
    {"a:", "t.conf:1:1: key \"a\" has no value"},
    {"b: 1\n  a:\n", "t.conf:2:3: key \"a\" has no value"},
    {": 5", "t.conf:1:1: expected a key, but got ':'"},
    {"a: 1 2", "t.conf:1:6: expected a new line, ',', a comment or the end of the file after the "
               "value, but got '2'"},
    {"a: 1;;", "t.conf:1:6: expected a key, but got ';'"},
    {"a: ,", "t.conf:1:4: expected a value, but got ','"},
    {"a: }", "t.conf:1:4: expected a value, but got '}'"},
    {"a: 1}", "t.conf:1:5: expected a new line, ',', a comment or the end of the file after the "
              "value, but got '}'"},
    {"}", "t.conf:1:1: expected a key, but got '}'"},
    {"{a: 1} b", "t.conf:1:8: expected the end of the file after '}', but got 'b'"},
    {"a {", "t.conf:1:3: unexpected end of file in a block that starts here"},
    {"x: 1\na {\n b: 1\n", "t.conf:2:3: unexpected end of file in a block that starts here"},
    {"a {b: 1 c: 2}", "t.conf:1:9: expected a new line, ',' or '}' after the value, but got 'c'"},
    {"{a: 1", "t.conf:1:1: unexpected end of file in a block that starts here"},
    {"a: [", "t.conf:1:4: unexpected end of file in an array that starts here"},
    {"a: [b c]", "t.conf:1:7: expected ',', a new line or ']' after an array element, but got 'c'"},
    {"a: [b;c]", "t.conf:1:6: expected ',', a new line or ']' after an array element, but got ';'"},
    {"a: [b,,c]", "t.conf:1:7: expected an array element or ']', but got ','"},
    {"a: [,b]", "t.conf:1:5: expected an array element or ']', but got ','"},
    {"a: [b}", "t.conf:1:6: expected ',', a new line or ']' after an array element, but got '}'"},
    {"a: \"b", "t.conf:1:4: unexpected end of file in a quoted string that starts here"},
    {"a: 'b\n\n", "t.conf:1:4: unexpected end of file in a quoted string that starts here"},
    {"'a", "t.conf:1:1: unexpected end of file in a quoted key that starts here"},
    {"a: \"b\" c", "t.conf:1:8: expected a new line, ',', a comment or the end of the file after "
                   "the value, but got 'c'"},
    {"a: \"b\\q\"",
     "t.conf:1:6: invalid escape character 'q'; only \\xXX, \\t, \\n, \\r, \\\", \\\\ are allowed"},
    {"a: b\\", "t.conf:1:5: invalid escape character the end of the file; only \\xXX, \\t, \\n, "
               "\\r, \\\", \\\\ are "
               "allowed"},
    {"a: \"\\x4g\"", "t.conf:1:5: expected two hexadecimal digits after '\\x'"},
    {"a: \"\\x00\"", "t.conf:1:5: a zero byte cannot stand in a string"},
    {"a: (b)",
     "t.conf:1:4: unexpected end of file in a text block that starts here; it ends with a line "
     "that holds only "
     "')'"},
    {"a: 9223372036854775808", "t.conf:1:4: integer '9223372036854775808' is out of range"},
    {"a: 10e", "t.conf:1:4: integer '10e' is out of range"},
    {"a: 99999999999gb", "t.conf:1:4: integer '99999999999gb' is out of range"},
    {"a: $NOPE", "t.conf:1:4: variable reference for 'NOPE' can not be found"},
    {"a: $", "t.conf:1:4: variable reference for '' can not be found"},
    {"a: $a", "t.conf:1:4: variable reference for 'a' can not be found"},
    {"a: $X\nX: 1", "t.conf:1:4: variable reference for 'X' can not be found"},
    {"A {b: 1}\na: $b", "t.conf:2:4: variable reference for 'b' can not be found"},
    {"a: $E_TWO", "t.conf:1:4: variable reference for 'E_TWO' could not be parsed: unexpected 'b' "
                  "after the value"},
    {"a: $E_CYCLE", "t.conf:1:4: variable reference cycle for 'E_CYCLE'"},
    {"a: $E_A", "t.conf:1:4: variable reference cycle for 'E_A'"},
    {"a: $E_BAD", "t.conf:1:4: unexpected end of file in an array that starts here"},
    {"include nope.conf", "t.conf:1:9: error parsing include file 'nope.conf': no such file"},
    {"include", "t.conf:1:8: expected the name of a file to include, but got the end of the file"},
    {"include\ninc.conf", "t.conf:1:8: expected the name of a file to include, but got a new line"},
    {"include self.conf", "self.conf:1:9: more than 16 files including each other"},
    {"x: 1\ninclude bad.conf", "bad.conf:2:6: unexpected end of file in an array that starts here"},
    {"X: 1\ninclude uses.conf", "uses.conf:1:4: variable reference for 'X' can not be found"},
};

static void each_good_text_means_its_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct brk_conf *c = NULL;
        struct err err = {0};
        enum st st =
            brk_conf_parse_text(&source, "t.conf", good[i][0], strlen(good[i][0]), &c, &err);
        if (st != ST_OK) {
            fail_msg("%s: %s", good[i][0], err.msg);
        }
        char *json = brk_conf_json(c, MIB);
        json[strlen(json) - 1] = '\0';
        assert_string_equal(json, good[i][1]);
        base_free(json);
        brk_conf_destroy(c);
    }
}

static void each_bad_text_names_place_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct brk_conf *c = (void *)1;
        struct err err = {0};
        enum st st = brk_conf_parse_text(&source, "t.conf", bad[i][0], strlen(bad[i][0]), &c, &err);
        assert_int_equal(st, ST_INVALID);
        assert_null(c);
        assert_string_equal(err.msg, bad[i][1]);
    }
}

static void zero_bytes_are_refused_with_their_place(void **state)
{
    struct brk_conf *c = NULL;
    struct err err = {0};
    (void)state;
    assert_int_equal(brk_conf_parse_text(&source, "t.conf", "a: 1\nb: \0", 9, &c, &err),
                     ST_INVALID);
    assert_string_equal(err.msg, "t.conf:2:4: a zero byte cannot stand in a config file");
}

static void values_and_keys_know_where_they_stand(void **state)
{
    static const char text[] = "a: 1\n\n  b {\n\tc = [x,\n      $a]\n}\ninclude inc.conf";
    struct brk_conf *c = NULL;
    (void)state;
    assert_int_equal(brk_conf_parse_text(&source, "t.conf", text, sizeof text - 1, &c, NULL),
                     ST_OK);
    const struct brk_conf_value *root = brk_conf_root(c);
    const struct brk_conf_entry *b = &root->entries[1], *list = &b->value->entries[0];
    assert_int_equal(b->pos.line, 3);
    assert_int_equal(b->pos.column, 3);
    assert_int_equal(list->pos.column, 2);
    assert_int_equal(list->value->pos.line, 4);
    assert_int_equal(list->value->pos.column, 6);
    assert_int_equal(list->value->entries[1].pos.line, 5);
    assert_int_equal(list->value->entries[1].pos.column, 7);
    assert_true(root->entries[0].used_as_variable);
    assert_false(b->used_as_variable);
    assert_string_equal(root->entries[2].pos.file, "inc.conf");
    assert_int_equal(root->entries[2].pos.line, 1);
    assert_int_equal(brk_conf_get(root, "a")->u.i, 1);
    assert_null(brk_conf_get(root, "nope"));
    brk_conf_destroy(c);
}

/* Nesting is bounded in the text and through variables. */
static void depth_is_bounded(void **state)
{
    char text[4096] = "a: ";
    struct brk_conf *c = NULL;
    struct err err = {0};
    (void)state;
    memset(text + 3, '[', 200);
    assert_int_equal(brk_conf_parse_text(&source, "t.conf", text, strlen(text), &c, &err),
                     ST_INVALID);
    assert_non_null(strstr(err.msg, "more than 64 blocks and arrays inside each other"));
    size_t at = (size_t)snprintf(text, sizeof text, "v0: [x]\n");
    for (int i = 1; i < 100; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "v%d: [$v%d]\n", i, i - 1);
    }
    assert_int_equal(brk_conf_parse_text(&source, "t.conf", text, at, &c, &err), ST_INVALID);
    assert_non_null(strstr(err.msg, "more than 64 blocks and arrays inside each other"));
}

static void json_is_bounded(void **state)
{
    char text[1024];
    struct brk_conf *c = NULL;
    (void)state;
    size_t at = (size_t)snprintf(text, sizeof text, "v0: [x]\n");
    for (int i = 1; i < 30;
         i++) { /* each twice the one before: 2^30 elements, a few hundred bytes in memory */
        at += (size_t)snprintf(text + at, sizeof text - at, "v%d: [$v%d,$v%d]\n", i, i - 1, i - 1);
    }
    assert_int_equal(brk_conf_parse_text(&source, "t.conf", text, at, &c, NULL), ST_OK);
    assert_null(brk_conf_json(c, MIB));
    brk_conf_destroy(c);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } ok[] = {
        {"2m", 120000000000}, {"1h30m", 5400000000000}, {"1.5s", 1500000000}, {"250ms", 250000000},
        {"1us", 1000},        {"1\xc2\xb5s", 1000},     {"7ns", 7},           {"0", 0},
        {"-2s", -2000000000}, {"+1s", 1000000000},      {".5s", 500000000},   {"1.s", 1000000000},
    };
    static const char *const wrong[][2] = {
        {"", "invalid duration \"\""},
        {"2x", "unknown unit in duration \"2x\""},
        {"5", "missing unit in duration \"5\""},
        {"s", "invalid duration \"s\""},
        {"1h 2m", "invalid duration \"1h 2m\""},
        {"9999999h", "duration \"9999999h\" is out of range"},
        {"99999999999999999999s", "invalid duration \"99999999999999999999s\""},
    };
    struct err err;
    int64_t ns;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ok); i++) {
        assert_int_equal(brk_conf_duration(ok[i].text, &ns, &err), ST_OK);
        assert_int_equal(ns, ok[i].ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(brk_conf_duration(wrong[i][0], &ns, &err), ST_INVALID);
        assert_string_equal(err.msg, wrong[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_good_text_means_its_json),
        cmocka_unit_test(each_bad_text_names_place_and_reason),
        cmocka_unit_test(zero_bytes_are_refused_with_their_place),
        cmocka_unit_test(values_and_keys_know_where_they_stand),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(json_is_bounded),
        cmocka_unit_test(durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* INFO: what a client is told first, and once more, with its account, behind its first PONG. There
 * is no `xkey`: it belongs to the auth callout, which is not there. Field order as
 * upstream's; ours comes last. */
#include <stdio.h>

#include "broker/auth.h"
#include "broker/conn_priv.h"
#include "engine/base/base.h"
#include "engine/base/version.h"

/* Writes s as a JSON string's inside. */
static size_t json_escape(char *out, size_t out_size, const char *s)
{
    size_t n = 0;
    for (; *s != 0 && n + 7 < out_size; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\') {
            out[n++] = '\\';
            out[n++] = (char)ch;
        } else if (ch < ' ') {
            n += (size_t)snprintf(out + n, 7, "\\u%04x", ch);
        } else {
            out[n++] = (char)ch;
        }
    }
    out[n] = 0;
    return n;
}

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *brk_compiler(void)
{
    return COMPILER;
}

/* Which account it is logged in to; behind the first PONG a client knows that the login was good.
 */
static size_t put_account(const struct brk_conn *c, char *out, size_t size)
{
    char name[600];
    (void)json_escape(name, sizeof name, c->account->name);
    int n = snprintf(out, size, ",\"connect_info\":true,\"remote_account\":\"%s\"%s", name,
                     c->account->system ? ",\"acc_is_sys\":true" : "");
    ASSERT(n > 0);
    ASSERT((size_t)n < size);
    return (size_t)n;
}

void brk_conn_send_info(struct brk_conn *c, bool connected)
{
    const struct brk_server *s = c->server;
    char name[600], host[300], account[700] = "", domain[6 * BRK_DOMAIN_MAX + 32] = "", line[4600];
    bool auth = s->auth_required || (connected && brk_auth_enabled(s->auth));
    (void)json_escape(name, sizeof name, s->name);
    (void)json_escape(host, sizeof host, s->opts->host);
    if (s->jetstream && s->opts->js.domain != NULL) {
        char text[6 * BRK_DOMAIN_MAX + 16];
        (void)json_escape(text, sizeof text, s->opts->js.domain);
        (void)snprintf(domain, sizeof domain, ",\"domain\":\"%s\"", text);
    }
    if (connected) {
        (void)put_account(c, account, sizeof account);
    }
    int n = snprintf(
        line, sizeof line,
        "INFO {\"server_id\":\"%s\",\"server_name\":\"%s\",\"version\":\"%s\",\"proto\":%d,"
        "\"go\":\"%s\",\"host\":\"%s\",\"port\":%u,\"headers\":%s,%s\"max_payload\":%lld,%s"
        "\"client_id\":%llu,\"client_ip\":\"%s\"%s%s,%s\"api_lvl\":%u,\"millrace\":\"%s\"} \r\n",
        s->id, name, BRK_NATS_VERSION, BRK_PROTO, COMPILER, host, (unsigned)s->port,
        s->opts->no_header_support ? "false" : "true", auth ? "\"auth_required\":true," : "",
        (long long)s->opts->max_payload, s->jetstream ? "\"jetstream\":true," : "",
        (unsigned long long)c->cid, c->trans->peer_ip, account, domain,
        s->lame_duck ? "\"ldm\":true," : "", JS_API_LEVEL, MILLRACE_VERSION);
    ASSERT(n > 0);
    ASSERT((size_t)n < sizeof line);
    brk_conn_send(c, line, (size_t)n);
}

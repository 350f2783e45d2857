/* mail_server.c - a final server: takes mail, and tells the books. */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VISIT_RCPTS_MAX = 64 };

typedef struct mail_server {
    machine *machine;
    char name[64];
    mail_settings settings;
    ehlo_service *service;
} mail_server;

/* A session. */
typedef struct visit {
    ehlo_timer timer; /* for an answer that comes later */
    ehlo_server *session;
    ehlo_token token;
    uint16_t code;
    int waits;   /* for that timer */
    int commits; /* with that answer the message is taken */
    char rcpts[VISIT_RCPTS_MAX][LEDGER_ADDRESS_MAX];
    size_t n;
    char *content;
    size_t len;
} visit;

static mail_faults faults;

void mail_set(const mail_faults *set)
{
    static const mail_faults none;
    faults = set != NULL ? *set : none;
}

/* -- verdicts --------------------------------------------------------------------------------------- */

static uint16_t draw_code(void)
{
    if (world_chance(faults.defer)) return 451;
    if (world_chance(faults.reject)) return 550;
    return world_chance(faults.end) ? 421 : 0;
}

static void commit(visit *v)
{
    const mail_server *server = ehlo_conn_ctx(v->session);
    ehlo_str rcpts[VISIT_RCPTS_MAX];
    for (size_t i = 0; i < v->n; i++) rcpts[i] = ehlo_str_from(v->rcpts[i]);
    int reports = (server->settings.extensions & EHLO_CAP_DSN) && (ehlo_server_with(v->session) & EHLO_WITH_ESMTP);
    if (!server->machine->dead)
        ledger_delivered(server->machine, ehlo_str_make(v->content, v->len), rcpts, v->n, reports);
}

static void answer(ehlo_loop *loop, void *arg)
{
    visit *v = arg;
    ehlo_reply r = { .code = v->code };
    v->waits = 0;
    if (v->commits) commit(v);
    v->commits = 0;
    ehlo_loop_answer(loop, ehlo_conn_number(v->session), v->token, &r);
}

/* code: 0, or that of a refusal. */
static int give(visit *v, ehlo_server *s, ehlo_token token, ehlo_reply *r, uint16_t code)
{
    v->session = s;
    v->token = token;
    v->code = code;
    r->code = code;
    if (world_chance(faults.never)) return EHLO_LATER;
    if (!world_chance(faults.slow)) return EHLO_OK;
    v->waits = 1;
    ehlo_timer_start(ehlo_conn_loop(s), &v->timer, (uint32_t)world_between(1, 15 * MINUTE), answer, v);
    return EHLO_LATER;
}

/* -- callbacks -------------------------------------------------------------------------------------- */

static int on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    uint16_t code = draw_code();
    return give(user, s, token, r, code == 451 ? 421 : code == 550 ? 554 : code);
}

static int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    (void)hello;
    return give(user, s, token, r, draw_code());
}

static void forget(visit *v)
{
    v->n = v->len = 0;
    free(v->content);
    v->content = NULL;
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    (void)mail;
    forget(user);
    return give(user, s, token, r, draw_code());
}

static int begins(ehlo_str text, const char *with)
{
    return text.len >= strlen(with) && memcmp(text.ptr, with, strlen(with)) == 0;
}

static uint16_t code_for(ehlo_str mailbox)
{
    if (begins(mailbox, "reject")) return 550;
    return begins(mailbox, "defer") ? 451 : draw_code();
}

/* Those that are accepted later are added now: nobody else is asked meanwhile. */
static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    visit *v = user;
    ehlo_str mailbox = rcpt->path.mailbox;
    uint16_t code = code_for(mailbox);
    if (v->n == VISIT_RCPTS_MAX || mailbox.len >= LEDGER_ADDRESS_MAX) code = 452;
    if (code == 0) {
        memcpy(v->rcpts[v->n], mailbox.ptr, mailbox.len);
        v->rcpts[v->n++][mailbox.len] = '\0';
    }
    return give(v, s, token, r, code);
}

static int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    return give(user, s, token, r, draw_code());
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    visit *v = user;
    (void)taken;
    if (world_chance(faults.defer) && world_chance(100)) {
        r->code = 452;
        return EHLO_REFUSE;
    }
    v->session = s;
    v->content = realloc(v->content, v->len + len + 1);
    if (v->content == NULL) abort();
    memcpy(v->content + v->len, bytes, len);
    v->len += len;
    return EHLO_OK;
}

/* It may crash with the message taken and the answer unsaid. */
static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    const mail_server *server = ehlo_conn_ctx(s);
    visit *v = user;
    (void)message;
    int verdict = give(v, s, token, r, draw_code());
    v->commits = v->code == 0 && v->waits;
    if (v->code == 0 && verdict == EHLO_OK) {
        commit(v);
        if (world_chance(faults.never)) server->machine->crash_in = 1;
    }
    return verdict;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    (void)s;
    (void)reason;
    forget(user);
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    visit *v = user;
    (void)reason;
    (void)pending;
    ehlo_timer_stop(ehlo_conn_loop(s), &v->timer);
    forget(v);
}

/* -- the machine ------------------------------------------------------------------------------------ */

static void boot(machine *m)
{
    static const ehlo_server_callbacks callbacks = { .on_connect = on_connect,
                                                     .on_hello = on_hello,
                                                     .on_mail = on_mail,
                                                     .on_rcpt = on_rcpt,
                                                     .on_data = on_data,
                                                     .on_body = on_body,
                                                     .on_message = on_message,
                                                     .on_reset = on_reset,
                                                     .on_close = on_close };
    mail_server *server = m->app;
    ehlo_service_config cfg = { .hostname = ehlo_str_from(server->name),
                                .flags = server->settings.extensions == 0 ? EHLO_SERVICE_NO_EXTENSIONS : 0,
                                .extensions = server->settings.extensions,
                                .max_recipients = server->settings.max_recipients };
    ehlo_listen_config listen_cfg = { .address = m->v4, .ctx = server, .user_size = sizeof(visit) };
    if (ehlo_net_service_new(&server->service, &cfg, &callbacks) != EHLO_OK) abort();
    if (ehlo_loop_new(&m->loop, NULL) != EHLO_OK) abort();
    listen_cfg.service = server->service;
    listen_cfg.address.port = 25;
    if (ehlo_loop_listen(m->loop, &listen_cfg, NULL) != EHLO_OK) abort();
    listen_cfg.address = m->v6;
    listen_cfg.address.port = 25;
    if (ehlo_loop_listen(m->loop, &listen_cfg, NULL) != EHLO_OK) abort();
}

static void halt(machine *m, int crashed)
{
    mail_server *server = m->app;
    (void)crashed;
    ehlo_loop_free(m->loop);
    ehlo_net_service_free(server->service);
}

static void discard(machine *m)
{
    free(m->app);
}

machine *mail_machine(const char *name, const mail_settings *settings)
{
    mail_server *server = calloc(1, sizeof *server);
    if (server == NULL) abort();
    server->settings = *settings;
    snprintf(server->name, sizeof server->name, "%s.example", name);
    server->machine = machine_new(name, boot, halt, server);
    server->machine->discard = discard;
    return server->machine;
}

/* scene.c - what is where, and what goes wrong. */
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hosts.h"
#include "names.h"

enum { RELAYS_MAX = 3, SERVERS_MAX = 5, DOMAINS_MAX = 5, NAMESERVERS = 2, MESSAGES_MAX = 40, RCPTS_MAX = 8 };

static struct {
    names *names;
    machine *nameservers[NAMESERVERS];
    ehlo_address nameserver_addresses[NAMESERVERS];
    machine *servers[SERVERS_MAX];
    size_t nservers;
    size_t ndomains;
    machine *relays[RELAYS_MAX];
    size_t nrelays;
    store *stores[RELAYS_MAX];
    size_t nstores;
    machine *sender;
    char own_names[RELAYS_MAX][48];
    ehlo_str own_name_texts[RELAYS_MAX];
    ehlo_host smart_hosts[RELAYS_MAX];
    ehlo_schedule schedule;
    uint64_t peace; /* when the troubles end */
    int burst;      /* all messages come within a minute */
    int crashes;
    int partitions;
    int clock_steps;
    const ehlo_store *functions;
} scene;

/* -- what is where ---------------------------------------------------------------------------------- */

static const uint32_t some_extensions[] = {
    0,
    EHLO_CAP_PIPELINING | EHLO_CAP_ENHANCEDSTATUSCODES,
    EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING,
    EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_DSN | EHLO_CAP_ENHANCEDSTATUSCODES,
};

static void add_host(const char *name, const machine *m)
{
    char text[64];
    snprintf(text, sizeof text, "%s.example", name);
    names_add_address(scene.names, text, &m->v4);
    if (world_chance(500)) names_add_address(scene.names, text, &m->v6);
}

static void make_nameservers(void)
{
    static const char *const called[] = { "ns0", "ns1" };
    scene.names = names_new();
    for (size_t i = 0; i < NAMESERVERS; i++) {
        scene.nameservers[i] = names_machine(scene.names, called[i]);
        scene.nameserver_addresses[i] = scene.nameservers[i]->v4;
    }
}

static void make_servers(void)
{
    scene.nservers = 2 + (size_t)world_draw(SERVERS_MAX - 1);
    for (size_t i = 0; i < scene.nservers; i++) {
        char name[32];
        mail_settings settings = { .extensions = some_extensions[world_draw(4)],
                                   .max_recipients = world_chance(300) ? 2 : 0 };
        snprintf(name, sizeof name, "mx%zu", i);
        scene.servers[i] = mail_machine(name, &settings);
        add_host(name, scene.servers[i]);
    }
}

/* Domains with up to three hosts each. */
static void make_domains(void)
{
    scene.ndomains = 1 + (size_t)world_draw(DOMAINS_MAX);
    for (size_t i = 0; i < scene.ndomains; i++) {
        char domain[48], host[48];
        snprintf(domain, sizeof domain, "d%zu.example", i);
        size_t first = (size_t)world_draw(scene.nservers), hosts = 1 + (size_t)world_draw(3);
        for (size_t k = 0; k < hosts && k < scene.nservers; k++) {
            snprintf(host, sizeof host, "mx%zu.example", (first + k) % scene.nservers);
            names_add_mx(scene.names, domain, (uint16_t)(10 * world_draw(3)), host);
        }
    }
    names_add_mx(scene.names, "home.example", 10, "mx0.example");
    names_add_mx(scene.names, "home.example", 20, "mx1.example");
    names_add_address(scene.names, "plain.example", &scene.servers[0]->v4);
    names_add_alias(scene.names, "alias.example", "d0.example");
    names_add_mx(scene.names, "null.example", 0, ".");
    names_add_mx(scene.names, "empty.example", 10, "nowhere.example");
    names_add_mx(scene.names, "dead.example", 10, "dead-host.example");
    names_add_address(scene.names, "dead-host.example",
                      &(ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 10, 0, 0, 250 } });
}

static unsigned maybe(unsigned most)
{
    return world_chance(500) ? (unsigned)world_draw(most + 1) : 0;
}

static void draw_schedule(void)
{
    uint32_t first = 20 + (uint32_t)world_draw(300);
    scene.schedule = (ehlo_schedule){ .first_s = first,
                                      .max_s = first + (uint32_t)world_draw(1500),
                                      .expire_s = 3600 + (uint32_t)world_draw(5 * 3600),
                                      .warn_s = 600 + (uint32_t)world_draw(2400) };
}

static relay_settings settings_of(size_t i)
{
    static const uint8_t uncertain[] = { EHLO_UNCERTAIN_RETRY, EHLO_UNCERTAIN_RETRY, EHLO_UNCERTAIN_RETRY,
                                         EHLO_UNCERTAIN_FAIL, EHLO_UNCERTAIN_TRUST };
    relay_settings settings = { .nameservers = scene.nameserver_addresses,
                                .n = NAMESERVERS,
                                .lease_ms = 20 * SECOND + (uint32_t)world_draw(10 * MINUTE),
                                .leases_run_on = world_chance(500),
                                .knows_its_addresses = world_chance(700),
                                .concurrency = maybe(6),
                                .destination_concurrency = maybe(3),
                                .session_messages = maybe(3),
                                .functions = scene.functions };
    settings.policy = (ehlo_relay_policy){ .own_names = &scene.own_name_texts[i],
                                           .nown_names = 1,
                                           .uncertain = uncertain[world_draw(5)],
                                           .schedule = scene.schedule };
    return settings;
}

/* Mail for these comes back, at once, or by way of another relay. */
static void add_loops(void)
{
    char last[48];
    snprintf(last, sizeof last, "relay%zu.example", scene.nrelays - 1);
    names_add_mx(scene.names, "self.example", 10, "relay0.example");
    names_add_mx(scene.names, "twin.example", 10, "twin-host.example");
    names_add_address(scene.names, "twin-host.example", &scene.relays[0]->v4);
    names_add_mx(scene.names, "circle.example", 10, last);
}

/* The second may share the store of the first; later ones may hand everything to the first. */
static void make_relays(void)
{
    scene.nrelays = 1 + (size_t)world_draw(RELAYS_MAX);
    for (size_t i = 0; i < scene.nrelays; i++) {
        char name[32];
        snprintf(name, sizeof name, "relay%zu", i);
        snprintf(scene.own_names[i], sizeof scene.own_names[i], "relay%zu.example", i);
        scene.own_name_texts[i] = ehlo_str_from(scene.own_names[i]);
        relay_settings settings = settings_of(i);
        int shares = i == 1 && world_chance(500);
        if (!shares) scene.stores[scene.nstores++] = store_new(&scene.schedule);
        settings.store = scene.stores[scene.nstores - 1];
        settings.store_number = (unsigned)scene.nstores - 1;
        settings.leases_run_on |= shares || scene.nrelays > 1;
        if (!shares && i > 0 && world_chance(300)) {
            scene.smart_hosts[i] = (ehlo_host){ .name = scene.own_name_texts[0], .port = 25 };
            settings.policy.smart_hosts = &scene.smart_hosts[i];
            settings.policy.nsmart_hosts = 1;
        }
        scene.relays[i] = relay_machine(name, &settings);
        add_host(name, scene.relays[i]);
    }
    add_loops();
}

/* -- messages --------------------------------------------------------------------------------------- */

static const char *draw_domain(char *out, size_t size)
{
    static const char *const odd[] = { "plain.example",  "alias.example", "null.example",       "empty.example",
                                       "dead.example",   "self.example",  "none.example",       "twin.example",
                                       "circle.example", "[10.0.0.3]",    "[IPv6:2001:db8::4]", "[10.0.0.250]" };
    if (world_chance(250)) return odd[world_draw(12)];
    snprintf(out, size, "d%u.example", (unsigned)world_draw(scene.ndomains));
    return out;
}

static uint8_t draw_notify(void)
{
    static const uint8_t some[] = { 0,
                                    0,
                                    0,
                                    EHLO_NOTIFY_NEVER,
                                    EHLO_NOTIFY_FAILURE,
                                    EHLO_NOTIFY_SUCCESS,
                                    EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY,
                                    EHLO_NOTIFY_DELAY };
    return some[world_draw(8)];
}

static void make_message(void)
{
    static const char *const froms[] = { "s@home.example", "s@home.example", "s@home.example", "",
                                         "s@none.example", "s@d0.example" };
    static const char *const prefixes[] = { "u", "u", "u", "u", "u", "u", "u", "u", "reject", "defer" };
    ledger_message *message = ledger_new(froms[world_draw(6)], (size_t)world_between(0, 200));
    for (uint64_t n = world_between(1, RCPTS_MAX); n > 0; n--) {
        char domain[32];
        ledger_add(message, prefixes[world_draw(10)], draw_domain(domain, sizeof domain), draw_notify());
    }
    const machine *relay = scene.relays[world_draw(scene.nrelays)];
    sender_send(scene.sender, world_draw(scene.burst ? MINUTE : scene.peace), message, &relay->v4);
}

/* -- troubles --------------------------------------------------------------------------------------- */

static void draw_faults(void)
{
    const network_faults network = { .drop = maybe(300),
                                     .twice = maybe(100),
                                     .cut = maybe(300),
                                     .slow = maybe(200),
                                     .refuse = maybe(200),
                                     .silent = maybe(100),
                                     .delay_max = 1 + maybe(2000) };
    const names_faults of_names = {
        .silent = maybe(200), .failed = maybe(200), .refused = maybe(100), .cut = maybe(300), .other = maybe(100)
    };
    const mail_faults mail = {
        .defer = maybe(100), .reject = maybe(50), .end = maybe(50), .slow = maybe(100), .never = maybe(30)
    };
    const store_faults stores = { .later = maybe(1000), .slow = maybe(20), .fail = maybe(100), .damage = maybe(20) };
    network_set(&network);
    names_set(scene.names, &of_names);
    mail_set(&mail);
    relay_set(&stores);
}

static machine *draw_machine(void)
{
    switch (world_draw(4)) {
    case 0:
        return scene.servers[world_draw(scene.nservers)];
    case 1:
        return scene.nameservers[world_draw(NAMESERVERS)];
    default:
        return scene.relays[world_draw(scene.nrelays)];
    }
}

static void restart(void *arg, int run)
{
    if (run && world_now() < scene.peace) machine_start(arg);
}

static void part_network(int parts)
{
    for (machine *m = world_machines(); m != NULL; m = m->next) m->island = parts ? (int)world_draw(2) : 0;
}

static void crash(void)
{
    machine *m = draw_machine();
    if (m->loop == NULL || world_chance(300))
        machine_stop(m, 1);
    else
        m->crash_in = (unsigned)world_between(1, 400);
}

static void step_clock(void)
{
    machine *m = scene.relays[world_draw(scene.nrelays)];
    m->clock_ms = (int64_t)world_draw(2 * HOUR) - HOUR;
    world_trace("the clock of %s is set to %lld", m->name, (long long)m->clock_ms);
}

static void make_trouble(void)
{
    static char everything[] = "@example";
    machine *relay = scene.relays[world_draw(scene.nrelays)];
    switch (world_draw(8)) {
    case 0:
        draw_faults();
        break;
    case 1:
        if (scene.partitions) part_network(world_chance(500));
        break;
    case 2:
        if (scene.clock_steps) step_clock();
        break;
    case 3:
        if (scene.crashes) relay_stop(relay, (int)world_between(0, MINUTE));
        break;
    case 4:
        relay_cut_off(relay, world_between(SECOND, 20 * MINUTE));
        break;
    case 5:
        relay_hurry(relay, everything);
        break;
    default:
        if (scene.crashes) crash();
    }
}

/* Whoever is down comes back, sooner or later. */
static void look_after(void)
{
    for (machine *m = world_machines(); m != NULL; m = m->next) {
        if (!m->up) world_after(world_between(0, 10 * MINUTE), restart, m);
    }
}

static void go_on(void *arg, int run)
{
    if (!run || world_now() >= scene.peace) return;
    make_trouble();
    look_after();
    world_after(SECOND + world_draw(10 * MINUTE), go_on, arg);
}

/* -- peace ------------------------------------------------------------------------------------------ */

static void make_peace(void)
{
    world_trace("peace");
    network_set(NULL);
    names_set(scene.names, NULL);
    mail_set(NULL);
    relay_set(NULL);
    part_network(0);
    for (machine *m = world_machines(); m != NULL; m = m->next) m->crash_in = 0;
}

static void start_all(void)
{
    for (machine *m = world_machines(); m != NULL; m = m->next) machine_start(m);
}

/* What is sent now arrives soon. What still waits for a server that never answered may hold it up a little. */
static void send_in_peace(void)
{
    for (size_t i = 0; i < scene.nrelays; i++) {
        ledger_message *message = ledger_new("s@home.example", 5);
        message->deadline = world_now() + HOUR;
        ledger_add(message, "u", "d0.example", 0);
        ledger_add(message, "u", "plain.example", 0);
        sender_send(scene.sender, 20 * MINUTE, message, &scene.relays[i]->v4);
    }
}

static int is_over(void)
{
    if (!ledger_all_told()) return 0;
    for (size_t i = 0; i < scene.nstores; i++) {
        if (store_queued(scene.stores[i]) > 0) return 0;
    }
    return 1;
}

/* All ends when the last message expires, its report too, and the last lease; clocks may have been wrong by hours. */
static void wait_for_end(void)
{
    uint64_t most = world_now() + 2 * (uint64_t)scene.schedule.expire_s * SECOND + 12 * HOUR;
    while (!is_over() && world_fault()[0] == '\0') {
        start_all();
        world_run(world_now() + MINUTE);
        if (world_now() > most) world_breach("the queues do not drain");
    }
}

/* -- run -------------------------------------------------------------------------------------------- */

static void build(uint64_t seed, const ehlo_store *functions)
{
    memset(&scene, 0, sizeof scene);
    scene.functions = functions;
    world_begin(seed);
    ledger_begin();
    scene.peace = 10 * MINUTE + world_draw(3 * HOUR);
    scene.burst = world_chance(300);
    scene.crashes = world_chance(600);
    scene.partitions = world_chance(400);
    scene.clock_steps = world_chance(300);
    draw_schedule();
    make_nameservers();
    make_servers();
    make_domains();
    make_relays();
    scene.sender = sender_machine("sender");
    draw_faults();
    start_all();
    for (uint64_t n = 1 + world_draw(MESSAGES_MAX); n > 0; n--) make_message();
    go_on(NULL, 1);
}

static void stop_all(void)
{
    for (size_t i = 0; i < scene.nrelays; i++) relay_stop(scene.relays[i], SECOND);
    world_run(world_now() + HOUR);
    for (size_t i = 0; i < scene.nrelays; i++) {
        if (scene.relays[i]->up) world_breach("%s does not stop", scene.relays[i]->name);
    }
}

scene_result scene_run(uint64_t seed, const ehlo_store *functions)
{
    scene_result result = { .fault = "" };
    build(seed, functions);
    world_run(scene.peace);
    make_peace();
    start_all();
    send_in_peace();
    wait_for_end();
    stop_all();
    if (world_fault()[0] == '\0') ledger_check((const store *const *)scene.stores, scene.nstores);
    result.simulated_ms = world_now();
    result.sums = ledger_sum();
    world_end();
    snprintf(result.fault, sizeof result.fault, "%s", world_fault());
    for (size_t i = 0; i < scene.nstores; i++) store_free(scene.stores[i]);
    names_free(scene.names);
    ledger_end();
    return result;
}

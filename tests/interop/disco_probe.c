/* disco-probe: discovery alone, telling what it tells as JSON lines, for the tests
 * in this folder. Names are printed with everything but plain ASCII escaped. */
#include "discovery/discovery.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct probe {
    struct event_base *base;
    struct discovery *discovery;
    struct event *stop[2];
    struct event *update;
    uint64_t catalog_version;
};

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_string(const char *key, const char *value)
{
    printf(", \"%s\": \"", key);
    for (const unsigned char *s = (const unsigned char *)value; *s; s++) {
        if (*s < 0x20 || *s >= 0x7f)
            printf("\\u00%02x", *s); /* a byte, not a character: enough for a test */
        else if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else
            putchar(*s);
    }
    putchar('"');
}

static void print_id(const uint8_t *id)
{
    printf(", \"id\": \"");
    for (int i = 0; i < DISCOVERY_ID_BYTES; i++)
        printf("%02x", id[i]);
    putchar('"');
}

static void print_address(const struct sockaddr_storage *ss)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
    if (ss->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)ss)->sin_addr, text, sizeof text);
    else
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    printf("\"%s", text);
    if (ss->ss_family == AF_INET6 && in6->sin6_scope_id)
        printf("%%%u", in6->sin6_scope_id);
    printf("\"");
}

static void begin(const char *event)
{
    printf("{\"event\": \"%s\", \"at\": %.3f", event, seconds());
}

static void end(void)
{
    printf("}\n");
    fflush(stdout);
}

static void on_found(void *arg, const struct discovery_peer *peer)
{
    (void)arg;
    begin("found");
    print_id(peer->id);
    print_string("name", peer->instance);
    printf(", \"port\": %u, \"version\": %u, \"flags\": %u, \"catalog\": %" PRIu64, peer->port,
           peer->version, peer->flags, peer->catalog_version);
    printf(", \"addrs\": [");
    for (unsigned i = 0; i < peer->addr_count; i++) {
        if (i)
            printf(", ");
        print_address(&peer->addrs[i]);
    }
    printf("], \"ifindexes\": [");
    for (unsigned i = 0; i < peer->addr_count; i++)
        printf("%s%u", i ? ", " : "", peer->ifindexes[i]);
    printf("]");
    end();
}

static void on_lost(void *arg, const uint8_t id[static DISCOVERY_ID_BYTES])
{
    (void)arg;
    begin("lost");
    print_id(id);
    end();
}

static void on_state(void *arg, const char *backend, const char *what)
{
    (void)arg;
    begin("state");
    print_string("backend", backend);
    print_string("what", what);
    end();
}

static void on_network(void *arg)
{
    (void)arg;
    begin("network");
    end();
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct probe *p = arg;
    (void)fd;
    (void)what;
    event_base_loopbreak(p->base);
}

static void on_update(evutil_socket_t fd, short what, void *arg)
{
    struct probe *p = arg;
    (void)fd;
    (void)what;
    p->catalog_version++;
    discovery_update(p->discovery, p->catalog_version, 1);
}

static int parse_mode(const char *text, enum discovery_mode *out)
{
    static const char *const names[] = {"auto", "system", "embedded", "off"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum discovery_mode)i;
            return 0;
        }
    }
    return -1;
}

static int parse_id(const char *text, uint8_t id[static DISCOVERY_ID_BYTES])
{
    uint64_t value = strtoull(text, NULL, 16);
    for (int i = DISCOVERY_ID_BYTES - 1; i >= 0; i--, value >>= 8)
        id[i] = (uint8_t)value;
    return strlen(text) == 2 * DISCOVERY_ID_BYTES ? 0 : -1;
}

static int parse(int argc, char **argv, struct discovery_cfg *cfg, double *update_after)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},         {"id", required_argument, NULL, 'i'},
        {"port", required_argument, NULL, 'p'},         {"mode", required_argument, NULL, 'm'},
        {"update-after", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            cfg->name = optarg;
        else if (option == 'p')
            cfg->port = (uint16_t)atoi(optarg);
        else if (option == 'u')
            *update_after = atof(optarg);
        else if (option == 'i' ? parse_id(optarg, cfg->id) < 0
                               : option != 'm' || parse_mode(optarg, &cfg->mode) < 0)
            return -1;
    }
    return 0;
}

static void add_events(struct probe *p, double update_after)
{
    p->stop[0] = evsignal_new(p->base, SIGTERM, on_stop, p);
    p->stop[1] = evsignal_new(p->base, SIGINT, on_stop, p);
    p->update = event_new(p->base, SIGUSR1, EV_SIGNAL | EV_PERSIST, on_update, p);
    event_add(p->stop[0], NULL);
    event_add(p->stop[1], NULL);
    event_add(p->update, NULL);
    if (update_after > 0) {
        const struct timeval tv = {(time_t)update_after, 0};
        event_base_once(p->base, -1, EV_TIMEOUT, on_update, p, &tv);
    }
}

int main(int argc, char **argv)
{
    static const struct discovery_ops ops = {.peer_found = on_found,
                                             .peer_lost = on_lost,
                                             .on_state = on_state,
                                             .on_network = on_network};
    struct probe p = {.base = event_base_new(), .catalog_version = 1};
    double update_after = 0;
    struct discovery_cfg cfg = {.base = p.base,
                                .mode = DISCOVERY_AUTO,
                                .name = "probe",
                                .port = 4242,
                                .version = 1,
                                .id = {1, 2, 3, 4, 5, 6, 7, 8},
                                .catalog_version = 1,
                                .ops = &ops,
                                .arg = &p};
    if (!p.base || parse(argc, argv, &cfg, &update_after) < 0) {
        fprintf(stderr, "usage: disco-probe [--name N] [--id HEX16] [--port N]"
                        " [--mode auto|system|embedded|off] [--update-after SECONDS]\n"
                        "SIGUSR1: next catalogue version\n");
        return 2;
    }
    add_events(&p, update_after);
    begin("start");
    end();
    if (discovery_new(&cfg, &p.discovery) < 0)
        return 1;
    event_base_dispatch(p.base);
    discovery_free(p.discovery);
    event_free(p.stop[0]);
    event_free(p.stop[1]);
    event_free(p.update);
    event_base_free(p.base);
    begin("stopped");
    end();
    return 0;
}

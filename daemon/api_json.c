#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api_impl.h"
#include "transfer/core/name.h"

static void set_count(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* Paths of this machine may hold any bytes; JSON may not. */
static json_t *text_json(const char *text)
{
    size_t len = strlen(text);

    if (name_utf8(text, len))
        return json_stringn(text, len);
    char *clean = strdup(text);
    if (!clean)
        return NULL;
    for (char *c = clean; *c; c++)
        if (*c & 0x80)
            *c = '?';
    json_t *json = json_string(clean);
    free(clean);
    return json;
}

void api_json_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text ? text_json(text) : json_null());
}

static void hex_put(json_t *o, const char *key, const uint8_t *bytes, size_t len_bytes)
{
    char hex[2 * HASH_LEN + 1];

    for (size_t i = 0; i < len_bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    json_object_set_new(o, key, json_stringn(hex, 2 * len_bytes));
}

void api_json_id(json_t *object, const char *key, const uint8_t id[static HASH_LEN])
{
    hex_put(object, key, id, HASH_LEN);
}

json_t *api_json_version(const struct node *n)
{
    struct node_info info;
    json_t *o = json_object();

    node_info(n, &info);
    api_json_text(o, "version", RONDA_VERSION);
    set_count(o, "protocol", MSG_VERSION_MAX);
    api_json_id(o, "id", info.id);
    api_json_text(o, "name", info.name);
    return o;
}

static json_t *item_json(const struct catalog *c, uint32_t i)
{
    static const char *const states[] = {
        [CATALOG_REMOTE] = "remote", [CATALOG_PARTIAL] = "partial", [CATALOG_HERE] = "here"};
    struct catalog_item item;
    json_t *o = json_object(), *names = json_array();

    catalog_at(c, i, &item);
    api_json_id(o, "id", item.id);
    api_json_text(o, "name", item.name);
    for (uint32_t j = 0; j < item.name_count; j++)
        json_array_append_new(names, text_json(catalog_name_at(c, i, j)));
    json_object_set_new(o, "names", names);
    set_count(o, "bytes", item.bytes);
    set_count(o, "files", item.files);
    set_count(o, "sources", item.sources);
    set_count(o, "partial", item.partial);
    api_json_text(o, "state", states[item.state]);
    return o;
}

json_t *api_json_catalog(const struct node *n)
{
    const struct catalog *c = node_catalog(n);
    struct node_info info;
    json_t *o = json_object(), *shares = json_array();

    node_info(n, &info);
    set_count(o, "hosts_asked", info.hosts_asked);
    set_count(o, "hosts_waiting", info.hosts_waiting);
    for (uint32_t i = 0; i < catalog_count(c); i++)
        json_array_append_new(shares, item_json(c, i));
    json_object_set_new(o, "shares", shares);
    return o;
}

static const char *state_text(const struct node_share *s)
{
    switch (s->state) {
    case NODE_IDLE:
        return s->share->changed ? "changed" : "idle";
    case NODE_SEEDING:
        return s->share->changed ? "changed" : "seeding";
    case NODE_CHECKING:
        return "checking";
    case NODE_WAITING:
        return "waiting";
    case NODE_RUNNING:
        return "running";
    case NODE_FULL:
        return "disk-full";
    case NODE_FINISHING:
        return "finishing";
    case NODE_PAUSED:
        return "paused";
    case NODE_FAILED:
        return "failed";
    }
    return "failed";
}

static void transfer_counts(json_t *o, const struct node_share *s)
{
    set_count(o, "bytes", s->share->bytes);
    set_count(o, "files", s->share->files);
    set_count(o, "chunks", s->share->chunks);
    set_count(o, "done_bytes", s->done_bytes);
    set_count(o, "files_done", s->files_done);
    set_count(o, "peers", s->peers);
    set_count(o, "peers_seen", s->peers_seen);
    set_count(o, "received_bytes", s->received_bytes);
    set_count(o, "bytes_from_source", s->from_source_bytes);
    set_count(o, "duplicates_bytes", s->duplicate_bytes);
    set_count(o, "uploaded_bytes", s->uploaded_bytes);
    set_count(o, "spread", s->spread);
}

json_t *api_json_transfer(const struct node_share *s)
{
    json_t *o = json_object();
    double bytes = (double)s->share->bytes;

    api_json_id(o, "id", s->share->id);
    api_json_text(o, "name", s->share->name);
    api_json_text(o, "state", state_text(s));
    json_object_set_new(o, "origin", json_boolean(s->share->origin));
    transfer_counts(o, s);
    json_object_set_new(o, "down_per_s", json_real(s->down_per_s));
    json_object_set_new(o, "up_per_s", json_real(s->up_per_s));
    json_object_set_new(o, "copies_sent",
                        json_real(bytes > 0 ? (double)s->uploaded_bytes / bytes : 0));
    json_object_set_new(o, "source_copies",
                        s->source_copies < 0 ? json_null() : json_real(s->source_copies));
    json_object_set_new(o, "source_restarted", json_boolean(s->source_restarted));
    json_object_set_new(o, "may_leave", json_boolean(s->may_leave));
    json_object_set_new(o, "seconds", json_real((double)s->elapsed_ms / 1000));
    api_json_text(o, "path", s->path);
    if (s->state == NODE_FAILED)
        api_json_text(o, "error", err_text(s->error));
    return o;
}

static json_t *node_json(const struct node *n)
{
    struct node_info info;
    json_t *o = json_object();

    node_info(n, &info);
    api_json_id(o, "id", info.id);
    api_json_text(o, "name", info.name);
    api_json_text(o, "version", RONDA_VERSION);
    set_count(o, "port", info.port);
    json_object_set_new(o, "uptime_seconds", json_real((double)info.uptime_ms / 1000));
    api_json_text(o, "discovery", info.discovery_backend);
    api_json_text(o, "discovery_state", info.discovery_state);
    set_count(o, "hosts_asked", info.hosts_asked);
    set_count(o, "hosts_waiting", info.hosts_waiting);
    return o;
}

json_t *api_json_status(const struct node *n)
{
    json_t *o = json_object(), *transfers = json_array();
    struct node_share share;

    for (uint32_t i = 0; i < node_share_count(n); i++) {
        node_share_at(n, i, &share);
        json_array_append_new(transfers, api_json_transfer(&share));
    }
    json_object_set_new(o, "node", node_json(n));
    json_object_set_new(o, "transfers", transfers);
    return o;
}

/* IPv4 as IPv4 also when it came through the dual-stack socket; a link-local
 * address is nothing without its interface. */
static void address_put(json_t *o, const struct sockaddr_storage *addr)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
    char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE] = "", name[IF_NAMESIZE];
    uint16_t port = 0;

    if (addr->ss_family == AF_INET) {
        inet_ntop(AF_INET, &in4->sin_addr, text, sizeof(text));
        port = ntohs(in4->sin_port);
    } else if (addr->ss_family == AF_INET6) {
        port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, sizeof(text));
        else
            inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        if (in6->sin6_scope_id && if_indextoname(in6->sin6_scope_id, name))
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%%%s", name);
    }
    api_json_text(o, "address", text);
    set_count(o, "port", port);
}

static json_t *peer_json(const struct node_peer *p)
{
    static const char *const states[] = {[NODE_PEER_KNOWN] = "known",
                                         [NODE_PEER_DIALLING] = "dialling",
                                         [NODE_PEER_CONNECTED] = "connected",
                                         [NODE_PEER_FAILED] = "failed"};
    static const uint8_t zeros[HASH_LEN] = {0};
    bool whole = memcmp(p->id + 8, zeros, HASH_LEN - 8) != 0;
    json_t *o = json_object();

    hex_put(o, "id", p->id, whole ? HASH_LEN : 8);
    api_json_text(o, "name", p->name);
    address_put(o, &p->addr);
    api_json_text(o, "state", states[p->state]);
    api_json_text(o, "error", p->state == NODE_PEER_FAILED ? err_text(p->error) : NULL);
    if (p->catalog_known)
        set_count(o, "shares", p->shares);
    else
        json_object_set_new(o, "shares", json_null());
    set_count(o, "transfers", p->swarms);
    set_count(o, "in_bytes", p->in_bytes);
    set_count(o, "out_bytes", p->out_bytes);
    json_object_set_new(o, "wireless", json_boolean(p->wireless));
    json_object_set_new(o, "wireless_here", json_boolean(p->wireless_here));
    return o;
}

json_t *api_json_peers(const struct node *n)
{
    json_t *o = json_object(), *peers = json_array();
    struct node_peer peer;

    for (uint32_t i = 0; i < node_peer_count(n); i++) {
        node_peer_at(n, i, &peer);
        json_array_append_new(peers, peer_json(&peer));
    }
    json_object_set_new(o, "peers", peers);
    return o;
}

/* A node made of stubs, behind the real control API: for its suite and its fuzzer.
 * Link it instead of node.c: it defines what api.c calls. */
#ifndef RONDA_TESTS_FAKE_NODE_H
#define RONDA_TESTS_FAKE_NODE_H

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "daemon/node.h"

struct node_job {
    node_event_fn *fn;
    void *arg;
    char what[64], extra[64];
    bool abandoned;
};

struct node {
    struct catalog *catalog;
    struct library_share own;
    struct node_job job;
    int start_err;
    unsigned started, unshared, shares;
};

static struct node fake;

const struct catalog *node_catalog(const struct node *n)
{
    return n->catalog;
}

void node_info(const struct node *n, struct node_info *out)
{
    (void)n;
    *out = (struct node_info){.id = (const uint8_t *)"0123456789abcdef0123456789abcdef",
                              .name = "guest-1",
                              .port = 24724,
                              .discovery_backend = "off",
                              .discovery_state = "off",
                              .uptime_ms = 1500};
}

uint32_t node_share_count(const struct node *n)
{
    return n->shares;
}

void node_share_at(const struct node *n, uint32_t i, struct node_share *out)
{
    (void)i;
    *out = (struct node_share){.share = &n->own,
                               .state = NODE_FAILED,
                               .error = -ENOSPC,
                               .source_copies = -1,
                               .uploaded_bytes = 2500,
                               .path = "/tmp/\xff\n"};
}

uint32_t node_peer_count(const struct node *n)
{
    (void)n;
    return 3;
}

void node_peer_at(const struct node *n, uint32_t i, struct node_peer *out)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->addr;
    (void)n;
    memset(out, 0, sizeof(*out));
    out->id[0] = 0xab;
    out->id[31] = i == 0 ? 0xcd : 0;
    out->name = "<b>\xe2\x80\xae";
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(77);
    if (i == 0)
        memcpy(&in6->sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
    if (i == 1) {
        memcpy(&in6->sin6_addr, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
        in6->sin6_scope_id = 1;
    }
    if (i == 2) {
        struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
        memcpy(&out->addr, &in4, sizeof(in4));
        out->state = NODE_PEER_FAILED;
        out->error = ERR_TLS;
        out->catalog_known = true;
    }
}

static int start(struct node *n, const char *what, const char *extra, node_event_fn *fn, void *arg,
                 struct node_job **out)
{
    *out = NULL;
    if (n->start_err)
        return n->start_err;
    n->started++;
    n->job = (struct node_job){.fn = fn, .arg = arg};
    snprintf(n->job.what, sizeof(n->job.what), "%s", what);
    snprintf(n->job.extra, sizeof(n->job.extra), "%s", extra ? extra : "(none)");
    *out = &n->job;
    return 0;
}

int node_job_share(struct node *n, const char *path, const char *name, node_event_fn *fn, void *arg,
                   struct node_job **out)
{
    return start(n, path, name, fn, arg, out);
}

int node_job_get(struct node *n, const char *what, const char *dest, node_event_fn *fn, void *arg,
                 struct node_job **out)
{
    return start(n, what, dest, fn, arg, out);
}

int node_job_verify(struct node *n, const char *what, node_event_fn *fn, void *arg,
                    struct node_job **out)
{
    return start(n, what, NULL, fn, arg, out);
}

void node_job_abandon(struct node_job *job)
{
    assert(!job->abandoned); /* once */
    job->abandoned = true;
}

int node_find_own(struct node *n, const char *what, struct library_share **out,
                  char error[static NODE_ERROR_BYTES])
{
    *out = &n->own;
    if (strcmp(what, "my share+") == 0)
        return 0;
    strcpy(error, "nothing here is called so");
    return strcmp(what, "two") == 0 ? ERR_AMBIGUOUS : ERR_NOT_FOUND;
}

int node_unshare(struct node *n, struct library_share *s)
{
    assert(s == &n->own);
    n->unshared++;
    return 0;
}

int node_torrent(struct node *n, struct library_share *s, uint8_t **out, size_t *len_bytes)
{
    (void)n, (void)s;
    *out = (uint8_t *)strdup("d4:infoe");
    *len_bytes = 8;
    return 0;
}

static int fake_begin(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.own = (struct library_share){.name = "my share+", .bytes = 1000, .files = 2, .chunks = 3};
    memset(fake.own.id, 0xee, HASH_LEN);
    return catalog_new(&fake.catalog);
}

#endif

/* api_impl: what the files of the control API share: api.c (connections, checks,
 * routes), api_socket.c (the socket), api_json.c (structs to JSON) and api_stream.c
 * (jobs and watch). For these alone.
 */
#ifndef RONDA_API_IMPL_H
#define RONDA_API_IMPL_H

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdbool.h>

#include "daemon/api.h"
#include "daemon/node.h"

/* 12 digits: rates in bytes stay whole, and 0.175 does not become 0.17499999999999999. */
#define API_JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(12))

enum {
    API_HEADER_BYTES_MAX = 16 * 1024,
    API_BODY_BYTES_MAX = 64 * 1024,
    API_CONNECTIONS_MAX = 32,
    API_IDLE_S = 30,
    API_FULL_MS = 250,     /* how often a full house looks for a free place */
    API_SWEEP_MS = 250,    /* how often ended connections are closed */
    API_PROGRESS_MS = 200, /* between progress lines */
    API_WATCH_MS = 500,
    API_UNREAD_BYTES_MAX = 64 * 1024 /* a client with more waiting gets no progress lines */
};

struct stream;

struct api {
    struct event_base *base;
    struct node *node;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct event *full, *sweep;
    struct bufferevent *connections[API_CONNECTIONS_MAX];
    char *path;
    bool group; /* the socket's group may connect, too */
    struct stream *streams;
};

/* api_socket.c: a listening socket, or -errno and error. */
int api_socket_open(const char *runtime_dir, char **path, bool *group, char error[static 1024]);
/* Is the process at the other end one of ours? */
bool api_socket_trusted(int fd, const char *path, bool group);

/* api_json.c: new references, NULL when there is no memory. */
json_t *api_json_version(const struct node *n);
json_t *api_json_catalog(const struct node *n);
json_t *api_json_status(const struct node *n);
json_t *api_json_peers(const struct node *n);
json_t *api_json_transfer(const struct node_share *s);
/* Sets key to text, whose bytes need not be UTF-8; NULL becomes null. */
void api_json_text(json_t *object, const char *key, const char *text);
void api_json_id(json_t *object, const char *key, const uint8_t id[static HASH_LEN]);

/* api.c: answers; body is taken over and may be NULL (no memory). */
void api_reply(struct evhttp_request *req, int status, json_t *body);
/* {"error", "code"} with the status that fits err. */
void api_reply_error(struct evhttp_request *req, int err, const char *text);

/* api_stream.c: the request is answered by a stream from here on, or was refused. */
enum api_job { API_SHARE, API_GET, API_VERIFY };
void api_stream_job(struct api *a, struct evhttp_request *req, enum api_job kind, const char *what,
                    const char *extra);
void api_stream_watch(struct api *a, struct evhttp_request *req);

#endif

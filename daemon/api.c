#include "daemon/api.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "daemon/api_impl.h"
#include "transfer/core/name.h"

int api_exit_code(int err)
{
    switch (err) {
    case ERR_CONFIG:
    case ERR_NAME:
    case -EINVAL:
        return 2;
    case ERR_NOT_FOUND:
    case ERR_AMBIGUOUS:
    case -ENOENT:
        return 4;
    case ERR_HASH:
    case ERR_MANIFEST:
    case ERR_BENCODE:
    case ERR_CHANGED:
    case ERR_DAMAGED:
        return 5;
    case -ENOSPC:
    case -EDQUOT:
        return 6;
    default:
        return err < 0 ? 1 : 0;
    }
}

static int http_status(int err)
{
    switch (api_exit_code(err)) {
    case 2:
        return 400;
    case 4:
        return err == ERR_AMBIGUOUS ? 409 : 404;
    default:
        return 500;
    }
}

void api_reply(struct evhttp_request *req, int status, json_t *body)
{
    struct evbuffer *out = evbuffer_new();
    char *text = body ? json_dumps(body, API_JSON_FLAGS) : NULL;

    json_decref(body);
    if (!out || !text || evbuffer_add_printf(out, "%s\n", text) < 0)
        status = 500;
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
    evhttp_send_reply(req, status, status == 200 ? "OK" : "Error", out);
    if (out)
        evbuffer_free(out);
    free(text);
}

static void reply_failure(struct evhttp_request *req, int status, int code, const char *text)
{
    json_t *body = json_object();

    api_json_text(body, "error", text);
    json_object_set_new(body, "code", json_integer(code));
    api_reply(req, status, body);
}

void api_reply_error(struct evhttp_request *req, int err, const char *text)
{
    reply_failure(req, http_status(err), api_exit_code(err), text);
}

/* --- what is asked --- */

/* "what" of ?what=W, malloc'd; NULL unless it is all there is. */
static char *query_what(struct evhttp_request *req)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    struct evkeyvalq pairs;
    char *what = NULL;

    if (!query || strstr(query, "%00") || evhttp_parse_query_str(query, &pairs) < 0)
        return NULL;
    const struct evkeyval *pair = TAILQ_FIRST(&pairs);
    if (pair && !TAILQ_NEXT(pair, next) && strcmp(pair->key, "what") == 0 && pair->value[0] &&
        name_utf8(pair->value, strlen(pair->value)))
        what = strdup(pair->value);
    evhttp_clear_headers(&pairs);
    return what;
}

/* A JSON object as the body, or NULL. */
static json_t *body_json(struct evhttp_request *req)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t len = evbuffer_get_length(in);
    const char *data = (const char *)evbuffer_pullup(in, -1);
    json_t *body = data ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}

static void route_job(struct api *a, struct evhttp_request *req, enum api_job kind)
{
    static const struct {
        const char *format, *first, *second, *right;
    } shapes[] = {
        [API_SHARE] = {"{s:s, s?s}", "path", "name", "the body must be {path, name?}"},
        [API_GET] = {"{s:s, s?s}", "what", "dest", "the body must be {what, dest?}"},
        [API_VERIFY] = {"{s:s}", "what", NULL, "the body must be {what}"},
    };
    const char *first = NULL, *second = NULL;
    json_t *body = body_json(req);

    if (!body || json_unpack_ex(body, NULL, JSON_STRICT, shapes[kind].format, shapes[kind].first,
                                &first, shapes[kind].second, &second) < 0) {
        reply_failure(req, 400, 2, shapes[kind].right);
    } else if (kind == API_SHARE && first[0] != '/') {
        reply_failure(req, 400, 2, "path must be absolute");
    } else if (kind == API_GET && second && second[0] != '/') {
        reply_failure(req, 400, 2, "dest must be absolute");
    } else if (!first[0] || (second && !second[0])) {
        reply_failure(req, 400, 2, "an empty name");
    } else {
        api_stream_job(a, req, kind, first, second);
    }
    json_decref(body);
}

static void route_share(struct api *a, struct evhttp_request *req)
{
    route_job(a, req, API_SHARE);
}

static void route_get(struct api *a, struct evhttp_request *req)
{
    route_job(a, req, API_GET);
}

static void route_verify(struct api *a, struct evhttp_request *req)
{
    route_job(a, req, API_VERIFY);
}

static void route_version(struct api *a, struct evhttp_request *req)
{
    api_reply(req, 200, api_json_version(a->node));
}

static void route_catalog(struct api *a, struct evhttp_request *req)
{
    api_reply(req, 200, api_json_catalog(a->node));
}

static void route_status(struct api *a, struct evhttp_request *req)
{
    api_reply(req, 200, api_json_status(a->node));
}

static void route_peers(struct api *a, struct evhttp_request *req)
{
    api_reply(req, 200, api_json_peers(a->node));
}

/* The share meant by ?what=, or NULL: the request is answered. */
static struct library_share *own_share(struct api *a, struct evhttp_request *req)
{
    char error[NODE_ERROR_BYTES] = "";
    struct library_share *share = NULL;
    char *what = query_what(req);

    if (!what) {
        reply_failure(req, 400, 2, "give ?what= and a name or id");
        return NULL;
    }
    int err = node_find_own(a->node, what, &share, error);
    free(what);
    if (!err)
        return share;
    api_reply_error(req, err, error[0] ? error : err_text(err));
    return NULL;
}

static void route_unshare(struct api *a, struct evhttp_request *req)
{
    struct library_share *share = own_share(a, req);

    if (!share)
        return;
    json_t *body = json_object();
    api_json_id(body, "id", share->id);
    api_json_text(body, "name", share->name);
    json_object_set_new(body, "unfinished", json_boolean(share->state != LIBRARY_HELD));
    int err = node_unshare(a->node, share);
    if (!err) {
        api_reply(req, 200, body);
        return;
    }
    json_decref(body);
    api_reply_error(req, err, err_text(err));
}

static void route_torrent(struct api *a, struct evhttp_request *req)
{
    struct library_share *share = own_share(a, req);
    uint8_t *data = NULL;
    size_t len = 0;

    if (!share)
        return;
    int err = node_torrent(a->node, share, &data, &len);
    struct evbuffer *out = evbuffer_new();
    if (!err && (!out || evbuffer_add(out, data, len) < 0))
        err = -ENOMEM;
    free(data);
    if (err) {
        api_reply_error(req, err, err_text(err));
    } else {
        evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
                          "application/x-bittorrent");
        evhttp_send_reply(req, 200, "OK", out);
    }
    if (out)
        evbuffer_free(out);
}

static const struct route {
    enum evhttp_cmd_type method;
    const char *path;
    bool query;
    void (*serve)(struct api *a, struct evhttp_request *req);
} routes[] = {
    {EVHTTP_REQ_GET, "/v1/version", false, route_version},
    {EVHTTP_REQ_GET, "/v1/catalog", false, route_catalog},
    {EVHTTP_REQ_GET, "/v1/status", false, route_status},
    {EVHTTP_REQ_GET, "/v1/peers", false, route_peers},
    {EVHTTP_REQ_GET, "/v1/watch", false, api_stream_watch},
    {EVHTTP_REQ_POST, "/v1/shares", false, route_share},
    {EVHTTP_REQ_DELETE, "/v1/shares", true, route_unshare},
    {EVHTTP_REQ_POST, "/v1/downloads", false, route_get},
    {EVHTTP_REQ_POST, "/v1/verify", false, route_verify},
    {EVHTTP_REQ_GET, "/v1/torrent", true, route_torrent},
};

/* --- who asks, and how --- */

static bool digits_only(const char *text)
{
    return text[0] && text[strspn(text, "0123456789")] == '\0';
}

/* What is wrong with the head of a request, or NULL. evhttp lets all of it pass;
 * the first three are what a web page in the user's browser cannot avoid
 * (DNS rebinding, cross-site requests). */
static const char *head_fault(struct evhttp_request *req)
{
    const char *uri = evhttp_request_get_uri(req);
    const struct evkeyval *h;
    unsigned hosts = 0, lengths = 0;

    if (uri[0] != '/' || uri[1] == '/' || !evhttp_request_get_evhttp_uri(req))
        return "the request must be for a path";
    TAILQ_FOREACH(h, evhttp_request_get_input_headers(req), next)
    {
        if (strcasecmp(h->key, "Origin") == 0)
            return "requests of web pages are refused";
        if (strcasecmp(h->key, "Transfer-Encoding") == 0)
            return "Transfer-Encoding is refused";
        if (strcasecmp(h->key, "Content-Length") == 0 && (lengths++ || !digits_only(h->value)))
            return "Content-Length must be one number";
        hosts += strcasecmp(h->key, "Host") == 0;
    }
    return hosts == 1 ? NULL : "Host must be there once";
}

static const char *request_fault(struct evhttp_request *req, const struct route *r)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    size_t body = evbuffer_get_length(evhttp_request_get_input_buffer(req));

    if (query && !r->query)
        return "no query is expected here";
    if (body > 0 && r->method != EVHTTP_REQ_POST)
        return "no body is expected here";
    return NULL;
}

static void serve(struct api *a, struct evhttp_request *req)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
    bool known = false;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!path || strcmp(path, routes[i].path) != 0)
            continue;
        known = true;
        if (routes[i].method != evhttp_request_get_command(req))
            continue;
        const char *fault = request_fault(req, &routes[i]);
        if (fault)
            reply_failure(req, 400, 2, fault);
        else
            routes[i].serve(a, req);
        return;
    }
    if (known)
        reply_failure(req, 400, 2, "another method is expected here");
    else
        reply_failure(req, 404, 2, "there is nothing at this path");
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct api *a = arg;
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evcon));
    const char *fault = head_fault(req);

    if (!api_socket_trusted(fd, a->path, a->group))
        fault = "this daemon belongs to another user";
    if (!fault) {
        serve(a, req);
        return;
    }
    evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
    reply_failure(req, 400, 2, fault);
}

/* --- connections --- */

/* evhttp tells nobody when a connection without a request ends. A reference of
 * ours keeps each bufferevent readable; evhttp takes its callbacks away when it
 * is done with it. The bufferevent closes the socket, with our reference: were
 * evhttp to close it, the events on it would live on, and the next connection
 * with the same number, a neighbour's even, would never be heard. Returns a free
 * place or -1. */
static int place_find(struct api *a)
{
    bufferevent_event_cb on_end;
    int place = -1;

    for (int i = 0; i < API_CONNECTIONS_MAX; i++) {
        if (a->connections[i]) {
            bufferevent_getcb(a->connections[i], NULL, NULL, &on_end, NULL);
            if (on_end)
                continue;
            bufferevent_decref(a->connections[i]);
            a->connections[i] = NULL;
        }
        place = i;
    }
    return place;
}

/* Sockets that only our references keep open. Ends when there are none left. */
static void sweep_later(struct api *a)
{
    const struct timeval delay = {0, API_SWEEP_MS * 1000};

    for (int i = 0; i < API_CONNECTIONS_MAX; i++)
        if (a->connections[i])
            event_add(a->sweep, &delay);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;

    (void)place_find(arg);
    sweep_later(arg);
}

static void pause_accepting(struct api *a)
{
    const struct timeval delay = {0, API_FULL_MS * 1000};

    evconnlistener_disable(a->listener);
    event_add(a->full, &delay);
}

static void on_full(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct api *a = arg;

    if (place_find(a) >= 0)
        evconnlistener_enable(a->listener);
    else
        pause_accepting(a);
}

/* EMFILE and its like: the socket would be readable again at once. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    pause_accepting(arg);
}

/* Until evhttp sets its own, so that the place looks taken at once. */
static void on_end_unset(struct bufferevent *bev, short what, void *arg)
{
    (void)bev, (void)what, (void)arg;
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct api *a = arg;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    int place = place_find(a);

    if (!bev || place < 0)
        return bev;
    bufferevent_setcb(bev, NULL, NULL, on_end_unset, NULL);
    bufferevent_incref(bev);
    a->connections[place] = bev;
    sweep_later(a);
    if (place_find(a) < 0)
        pause_accepting(a);
    return bev;
}

/* --- life --- */

static int http_open(struct api *a, int fd)
{
    a->http = evhttp_new(a->base);
    a->full = event_new(a->base, -1, 0, on_full, a);
    a->sweep = event_new(a->base, -1, 0, on_sweep, a);
    struct evhttp_bound_socket *bound =
        a->http && a->full && a->sweep ? evhttp_accept_socket_with_handle(a->http, fd) : NULL;
    if (!bound) {
        close(fd);
        return -ENOMEM;
    }
    a->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(a->listener, on_accept_error);
    evhttp_set_max_headers_size(a->http, API_HEADER_BYTES_MAX);
    evhttp_set_max_body_size(a->http, API_BODY_BYTES_MAX);
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_DELETE);
    evhttp_set_timeout(a->http, API_IDLE_S);
    evhttp_set_bevcb(a->http, on_connection, a);
    evhttp_set_gencb(a->http, on_request, a);
    return 0;
}

int api_new(struct event_base *base, struct node *n, const char *runtime_dir, struct api **out,
            char error[static 1024])
{
    *out = NULL;
    error[0] = '\0';
    struct api *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->base = base;
    a->node = n;
    int fd = api_socket_open(runtime_dir, &a->path, &a->group, error);
    int err = fd < 0 ? fd : http_open(a, fd);
    if (err) {
        if (!error[0])
            snprintf(error, 1024, "%s", err_text(err));
        api_free(a);
        return err;
    }
    *out = a;
    return 0;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    if (a->http)
        evhttp_free(a->http); /* ends the streams, too */
    for (int i = 0; i < API_CONNECTIONS_MAX; i++)
        if (a->connections[i])
            bufferevent_decref(a->connections[i]);
    if (a->full)
        event_free(a->full);
    if (a->sweep)
        event_free(a->sweep);
    if (a->path)
        unlink(a->path);
    free(a->path);
    free(a);
}

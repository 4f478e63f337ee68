#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemon/api_impl.h"
#include "transfer/io/clock.h"

/* One answer that goes on: a job's progress, or watch. */
struct stream {
    struct api *api;
    struct evhttp_request *req;
    enum api_job kind;
    struct node_job *job; /* NULL: watch, or over */
    struct event *closed; /* the client went away */
    struct event *tick;   /* watch */
    uint64_t last_ms;     /* of the last progress line */
    struct stream *next, **prev;
};

static void stream_free(struct stream *s)
{
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (s->closed)
        event_free(s->closed);
    if (s->tick)
        event_free(s->tick);
    free(s);
}

/* evhttp says: this connection goes. A request that it has let go of is ours to end. */
static void on_gone(struct evhttp_connection *evcon, void *arg)
{
    (void)evcon;
    struct stream *s = arg;

    if (s->job)
        node_job_abandon(s->job);
    if (!evhttp_request_get_connection(s->req))
        evhttp_send_reply_end(s->req);
    stream_free(s);
}

/* evhttp sees the end of a connection only behind what is still to be read from it,
 * and that is more than it may read while it answers. */
static void on_half_closed(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct stream *s = arg;

    evhttp_connection_free(evhttp_request_get_connection(s->req)); /* on_gone() follows */
}

static size_t unread(const struct stream *s)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(s->req);

    return evbuffer_get_length(bufferevent_get_output(evhttp_connection_get_bufferevent(evcon)));
}

static void line_send(struct stream *s, json_t *line)
{
    struct evbuffer *out = evbuffer_new();
    char *text = json_dumps(line, API_JSON_FLAGS);

    if (out && text && evbuffer_add_printf(out, "%s\n", text) > 0)
        evhttp_send_reply_chunk(s->req, out);
    if (out)
        evbuffer_free(out);
    free(text);
    json_decref(line);
}

static void stream_end(struct stream *s)
{
    struct evhttp_request *req = s->req;

    evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
    stream_free(s);
    evhttp_send_reply_end(req);
}

static struct stream *stream_new(struct api *a, struct evhttp_request *req, enum api_job kind)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
    struct stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    *s = (struct stream){
        .api = a, .req = req, .kind = kind, .next = a->streams, .prev = &a->streams};
    if (s->next)
        s->next->prev = &s->next;
    a->streams = s;
    s->closed = event_new(a->base, bufferevent_getfd(bev), EV_CLOSED, on_half_closed, s);
    if (!s->closed || event_add(s->closed, NULL) < 0) {
        stream_free(s);
        return NULL;
    }
    return s;
}

static void stream_begin(struct stream *s)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(s->req);
    struct evkeyvalq *head = evhttp_request_get_output_headers(s->req);

    evhttp_connection_set_closecb(evcon, on_gone, s);
    evhttp_add_header(head, "Content-Type", "application/x-ndjson");
    evhttp_add_header(head, "Connection", "close");
    evhttp_send_reply_start(s->req, HTTP_OK, "OK");
    /* Whatever the client says from here on stays in the socket. */
    bufferevent_setwatermark(evhttp_connection_get_bufferevent(evcon), EV_READ, 0,
                             API_HEADER_BYTES_MAX);
    /* A stopped client (Ctrl-Z) is no reason to give up its transfer. */
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(evcon), NULL, NULL);
}

static json_t *bytes_json(const struct node_event *ev)
{
    return json_pack("{s:I, s:I}", "done_bytes", (json_int_t)ev->done_bytes, "total_bytes",
                     (json_int_t)ev->total_bytes);
}

static json_t *done_json(enum api_job kind, const struct node_event *ev)
{
    const struct node_share *s = ev->share;
    json_t *o = json_object();

    api_json_id(o, "id", s->share->id);
    api_json_text(o, "name", s->share->name);
    json_object_set_new(o, "bytes", json_integer((json_int_t)s->share->bytes));
    json_object_set_new(o, "seconds", json_real((double)ev->elapsed_ms / 1000));
    if (kind == API_VERIFY) {
        json_object_set_new(o, "bad_chunks", json_integer(ev->bad_chunks));
        api_json_text(o, "first_bad", ev->first_bad);
    } else {
        json_object_set_new(o, "files", json_integer(s->share->files));
        json_object_set_new(o, "chunks", json_integer(s->share->chunks));
        json_object_set_new(o, "skipped", json_integer(ev->skipped));
        api_json_text(o, "was", ev->was);
    }
    return o;
}

/* A transfer, and that it is whole; "peers" are those that sent something. */
static json_t *got_json(const struct node_share *s)
{
    json_t *o = api_json_transfer(s);

    json_object_set_new(o, "peers", json_integer(s->peers_seen));
    json_object_set_new(o, "verified", json_true());
    return o;
}

static json_t *event_json(enum api_job kind, const struct node_event *ev)
{
    json_t *o;

    switch (ev->type) {
    case NODE_EVENT_PROGRESS:
        o = kind == API_GET && ev->share ? api_json_transfer(ev->share) : bytes_json(ev);
        api_json_text(o, "event", "progress");
        return o;
    case NODE_EVENT_DONE:
        o = kind == API_GET ? got_json(ev->share) : done_json(kind, ev);
        api_json_text(o, "event", "done");
        return o;
    case NODE_EVENT_ERROR:
        break;
    }
    o = json_object();
    api_json_text(o, "event", "error");
    api_json_text(o, "error", ev->text ? ev->text : err_text(ev->err));
    json_object_set_new(o, "code", json_integer(api_exit_code(ev->err)));
    return o;
}

static void on_event(void *arg, const struct node_event *ev)
{
    struct stream *s = arg;

    if (ev->type == NODE_EVENT_PROGRESS) {
        uint64_t now_ms = clock_ms();
        if (now_ms - s->last_ms < API_PROGRESS_MS || unread(s) > API_UNREAD_BYTES_MAX)
            return;
        s->last_ms = now_ms;
        line_send(s, event_json(s->kind, ev));
        return;
    }
    s->job = NULL;
    line_send(s, event_json(s->kind, ev));
    stream_end(s);
}

static int job_start(struct stream *s, const char *what, const char *extra)
{
    struct node *n = s->api->node;

    switch (s->kind) {
    case API_SHARE:
        return node_job_share(n, what, extra, on_event, s, &s->job);
    case API_GET:
        return node_job_get(n, what, extra, on_event, s, &s->job);
    case API_VERIFY:
        return node_job_verify(n, what, on_event, s, &s->job);
    }
    return -EINVAL;
}

void api_stream_job(struct api *a, struct evhttp_request *req, enum api_job kind, const char *what,
                    const char *extra)
{
    struct stream *s = stream_new(a, req, kind);
    int err = s ? job_start(s, what, extra) : -ENOMEM;

    if (!err) {
        stream_begin(s);
        return;
    }
    if (s)
        stream_free(s);
    api_reply_error(req, err,
                    err == ERR_LIMIT ? "too many jobs at once: try again later" : err_text(err));
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct stream *s = arg;

    if (unread(s) <= API_UNREAD_BYTES_MAX)
        line_send(s, api_json_status(s->api->node));
}

void api_stream_watch(struct api *a, struct evhttp_request *req)
{
    const struct timeval every = {API_WATCH_MS / 1000, API_WATCH_MS % 1000 * 1000};
    struct stream *s = stream_new(a, req, API_SHARE);

    if (s)
        s->tick = event_new(a->base, -1, EV_PERSIST, on_watch, s);
    if (!s || !s->tick || event_add(s->tick, &every) < 0) {
        if (s)
            stream_free(s);
        api_reply_error(req, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    stream_begin(s);
    line_send(s, api_json_status(a->node));
}

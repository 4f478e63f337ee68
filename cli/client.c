#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "cli/exit.h"
#include "cli/lines.h"

enum { ERROR_BODY_MAX = 64 << 10, POLL_MS = 1000 };

struct client {
    CURLM *multi;
    char *socket_path;
    int stop_fd;
    bool lost;
    char error[CLIENT_ERROR_BYTES];
};

/* One request on its way. */
struct call {
    struct client *client;
    CURL *easy;
    struct curl_slist *headers;
    char *url, *body;
    client_bytes_fn *fn;
    void *arg;
    int code;      /* what fn said */
    char *refusal; /* body of an answer that is not 200 */
    size_t refusal_len;
};

static int client_fail(struct client *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int client_fail(struct client *c, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->error, sizeof(c->error), fmt, args);
    va_end(args);
    return code;
}

const char *client_error(const struct client *c)
{
    return c->error;
}

bool client_lost(const struct client *c)
{
    return c->lost;
}

int client_new(const char *socket_path, int stop_fd, struct client **out)
{
    *out = NULL;
    struct client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return EXIT_FAILED;
    c->stop_fd = stop_fd;
    c->socket_path = strdup(socket_path);
    c->multi = curl_multi_init();
    if (c->socket_path == NULL || c->multi == NULL) {
        client_free(c);
        return EXIT_FAILED;
    }
    *out = c;
    return EXIT_DONE;
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    curl_multi_cleanup(c->multi);
    free(c->socket_path);
    free(c);
}

static int error_code_of(const json_t *reply)
{
    json_int_t code = json_integer_value(json_object_get(reply, "code"));
    return code >= EXIT_FAILED && code <= EXIT_NO_SPACE ? (int)code : EXIT_FAILED;
}

static int client_refused(struct client *c, const json_t *reply)
{
    const char *text = json_string_value(json_object_get(reply, "error"));
    return client_fail(c, error_code_of(reply), "%s", text != NULL ? text : "failed");
}

static bool call_keep_refusal(struct call *call, const char *data, size_t len)
{
    if (len > ERROR_BODY_MAX - call->refusal_len)
        len = ERROR_BODY_MAX - call->refusal_len;
    char *grown = realloc(call->refusal, call->refusal_len + len + 1);
    if (grown == NULL)
        return false;
    memcpy(grown + call->refusal_len, data, len);
    call->refusal = grown;
    call->refusal_len += len;
    return true;
}

static long call_status(const struct call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t call_on_bytes(char *data, size_t size, size_t count, void *arg)
{
    struct call *call = arg;
    size_t len = size * count;
    if (call_status(call) != 200)
        return call_keep_refusal(call, data, len) ? len : 0;
    call->code = call->fn(call->arg, data, len);
    return call->code == EXIT_DONE ? len : 0;
}

static char *call_url(const struct call *call, const struct client_request *rq)
{
    char *what = NULL, *url = NULL;
    if (rq->what != NULL) {
        what = curl_easy_escape(call->easy, rq->what, 0);
        if (what == NULL)
            return NULL;
    }
    if (asprintf(&url, "http://ronda%s%s%s", rq->path, what != NULL ? "?what=" : "",
                 what != NULL ? what : "") < 0)
        url = NULL;
    curl_free(what);
    return url;
}

static bool call_set_body(struct call *call, const struct client_request *rq)
{
    if (rq->body == NULL)
        return strcmp(rq->method, "POST") != 0 ||
               curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, "") == CURLE_OK;
    call->body = json_dumps(rq->body, JSON_COMPACT);
    call->headers = curl_slist_append(NULL, "Content-Type: application/json");
    return call->body != NULL && call->headers != NULL &&
           curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->body) == CURLE_OK &&
           curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static bool call_set_up(struct call *call, const struct client_request *rq, long timeout_ms)
{
    call->easy = curl_easy_init();
    if (call->easy == NULL)
        return false;
    call->url = call_url(call, rq);
    if (call->url == NULL || !call_set_body(call, rq))
        return false;
    CURL *e = call->easy;
    /* A proxy of the environment must not come between us and a unix socket. */
    return curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, call->client->socket_path) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_URL, call->url) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CLIENT_CONNECT_MS) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, call_on_bytes) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, call) == CURLE_OK;
}

static void call_free(struct call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    free(call->url);
    free(call->body);
    free(call->refusal);
}

static int client_went(struct client *c)
{
    c->lost = true;
    return client_fail(c, EXIT_NO_DAEMON, "the daemon at %s went away", c->socket_path);
}

static bool is_hang_up(CURLcode result)
{
    return result == CURLE_GOT_NOTHING || result == CURLE_PARTIAL_FILE ||
           result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR;
}

/* What a finished transfer means. */
static int call_result(struct call *call, CURLcode result)
{
    struct client *c = call->client;
    long os_error = 0;
    if (result == CURLE_WRITE_ERROR && call->code != EXIT_DONE)
        return call->code;
    if (result == CURLE_COULDNT_CONNECT) {
        curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_error);
        if (os_error == EACCES || os_error == EPERM)
            return client_fail(c, EXIT_NO_DAEMON, "no permission to talk to the daemon at %s",
                               c->socket_path);
        return client_fail(c, EXIT_NO_DAEMON,
                           "no daemon is running at %s: start it with `rondad`, or with "
                           "`systemctl --user start rondad`",
                           c->socket_path);
    }
    if (result == CURLE_OPERATION_TIMEDOUT)
        return client_fail(c, EXIT_FAILED, "the daemon at %s does not answer", c->socket_path);
    if (is_hang_up(result))
        return client_went(c);
    if (result != CURLE_OK)
        return client_fail(c, EXIT_NO_DAEMON, "talking to the daemon at %s failed: %s",
                           c->socket_path, curl_easy_strerror(result));
    if (call_status(call) == 200)
        return EXIT_DONE;
    json_t *reply =
        json_loadb(call->refusal != NULL ? call->refusal : "", call->refusal_len, 0, NULL);
    int code = reply != NULL ? client_refused(c, reply)
                             : client_fail(c, EXIT_FAILED, "the daemon answered with status %ld",
                                           call_status(call));
    json_decref(reply);
    return code;
}

static bool stop_asked(const struct client *c)
{
    struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};
    return c->stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Pumps until the transfer ends. */
static int call_pump(struct call *call)
{
    struct client *c = call->client;
    struct curl_waitfd stop = {.fd = c->stop_fd, .events = CURL_WAIT_POLLIN};
    int running = 1, waiting;
    while (running != 0) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return client_fail(c, EXIT_FAILED, "the request failed inside libcurl");
        if (running == 0)
            break;
        if (stop_asked(c))
            return client_fail(c, EXIT_STOPPED, "stopped");
        if (curl_multi_poll(c->multi, &stop, c->stop_fd >= 0, POLL_MS, NULL) != CURLM_OK)
            return client_fail(c, EXIT_FAILED, "the request failed inside libcurl");
    }
    const CURLMsg *m = curl_multi_info_read(c->multi, &waiting);
    return call_result(call, m != NULL ? m->data.result : CURLE_RECV_ERROR);
}

static int client_call(struct client *c, const struct client_request *rq, long timeout_ms,
                       client_bytes_fn *fn, void *arg)
{
    struct call call = {.client = c, .fn = fn, .arg = arg};
    int code;
    c->error[0] = '\0';
    c->lost = false;
    if (strlen(c->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return client_fail(c, EXIT_USAGE, "%s is too long for the path of a socket",
                           c->socket_path);
    if (!call_set_up(&call, rq, timeout_ms) ||
        curl_multi_add_handle(c->multi, call.easy) != CURLM_OK) {
        code = client_fail(c, EXIT_FAILED, "out of memory");
    } else {
        code = call_pump(&call);
        curl_multi_remove_handle(c->multi, call.easy);
    }
    call_free(&call);
    return code;
}

int client_bytes(struct client *c, const struct client_request *rq, client_bytes_fn *fn, void *arg)
{
    return client_call(c, rq, CLIENT_ANSWER_MS, fn, arg);
}

struct document {
    struct client *client;
    char *data;
    size_t len;
};

static int document_on_bytes(void *arg, const char *data, size_t len)
{
    struct document *d = arg;
    if (len > CLIENT_BODY_MAX - d->len)
        return client_fail(d->client, EXIT_FAILED, "the daemon's answer is too long");
    char *grown = realloc(d->data, d->len + len);
    if (grown == NULL)
        return client_fail(d->client, EXIT_FAILED, "out of memory");
    memcpy(grown + d->len, data, len);
    d->data = grown;
    d->len += len;
    return EXIT_DONE;
}

static int client_document(struct client *c, const struct client_request *rq, long timeout_ms,
                           json_t **out)
{
    struct document d = {.client = c};
    *out = NULL;
    int code = client_call(c, rq, timeout_ms, document_on_bytes, &d);
    if (code == EXIT_DONE) {
        *out = d.len == 0 ? NULL : json_loadb(d.data, d.len, 0, NULL);
        if (*out == NULL)
            code = client_fail(c, EXIT_FAILED, "the daemon's answer is not JSON");
    }
    free(d.data);
    return code;
}

int client_json(struct client *c, const struct client_request *rq, json_t **out)
{
    return client_document(c, rq, CLIENT_ANSWER_MS, out);
}

int client_json_stopped(struct client *c, const struct client_request *rq, json_t **out)
{
    int stop_fd = c->stop_fd;
    c->stop_fd = -1;
    int code = client_document(c, rq, CLIENT_STOPPED_MS, out);
    c->stop_fd = stop_fd;
    return code;
}

struct stream {
    struct client *client;
    struct lines lines;
    client_line_fn *fn;
    void *arg;
};

static int stream_on_line(void *arg, const char *data, size_t len)
{
    struct stream *s = arg;
    json_t *line = json_loadb(data, len, 0, NULL);
    if (line == NULL)
        return client_fail(s->client, EXIT_FAILED, "the daemon sent a line that is not JSON");
    int code = s->fn(s->arg, line);
    json_decref(line);
    return code;
}

static int stream_result(struct stream *s, int err)
{
    if (err == -EMSGSIZE)
        return client_fail(s->client, EXIT_FAILED, "the daemon sent a line that is too long");
    if (err == -ENOMEM)
        return client_fail(s->client, EXIT_FAILED, "out of memory");
    return err;
}

static int stream_on_bytes(void *arg, const char *data, size_t len)
{
    struct stream *s = arg;
    return stream_result(s, lines_feed(&s->lines, data, len, stream_on_line, s));
}

int client_stream(struct client *c, const struct client_request *rq, client_line_fn *fn, void *arg)
{
    struct stream s = {.client = c, .fn = fn, .arg = arg};
    int code = client_call(c, rq, 0, stream_on_bytes, &s);
    if (code == EXIT_DONE)
        code = stream_result(&s, lines_end(&s.lines, stream_on_line, &s));
    lines_free(&s.lines);
    if (code == EXIT_DONE)
        return client_went(c);
    return code == CLIENT_ENOUGH ? EXIT_DONE : code;
}

struct job {
    struct client *client;
    client_progress_fn *fn;
    void *arg;
    json_t *done;
};

static int job_on_line(void *arg, const json_t *line)
{
    struct job *j = arg;
    const char *event = json_string_value(json_object_get(line, "event"));
    if (event == NULL)
        return EXIT_DONE;
    if (strcmp(event, "error") == 0)
        return client_refused(j->client, line);
    if (strcmp(event, "done") == 0) {
        j->done = json_deep_copy(line);
        return j->done != NULL ? CLIENT_ENOUGH
                               : client_fail(j->client, EXIT_FAILED, "out of memory");
    }
    if (strcmp(event, "progress") == 0)
        j->fn(j->arg, line);
    return EXIT_DONE;
}

int client_job(struct client *c, const char *path, const json_t *body, client_progress_fn *fn,
               void *arg, json_t **done)
{
    const struct client_request rq = {.method = "POST", .path = path, .body = body};
    struct job j = {.client = c, .fn = fn, .arg = arg};
    int code = client_stream(c, &rq, job_on_line, &j);
    *done = j.done;
    return code;
}

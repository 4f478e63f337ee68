/* The control API over its real socket, against a node made of stubs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/api.h"
#include "tests/unit/fake_node.h"

/* --- a client --- */

static struct event_base *base;
static struct api *api;
static char dir[64], path[128];

static void setup(void)
{
    char error[1024];

    alarm(60);
    signal(SIGPIPE, SIG_IGN);
    strcpy(dir, "/tmp/ronda-test-api-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/" API_SOCKET_NAME, dir);
    base = event_base_new();
    cr_assert_eq(fake_begin(), 0);
    cr_assert_eq(api_new(base, &fake, dir, &api, error), 0, "%s", error);
}

static void teardown(void)
{
    struct stat st;

    api_free(api);
    cr_assert_lt(stat(path, &st), 0, "the socket is removed");
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    catalog_free(fake.catalog);
    rmdir(dir);
}

TestSuite(api, .init = setup, .fini = teardown);

static int dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0, "%d", errno);
    return fd;
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void say(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        turn();
    }
}

/* Appends what comes until the other end closes, or until the text holds stop. */
static void hear(int fd, char *text, size_t cap, const char *stop)
{
    size_t used = strlen(text);

    for (;;) {
        turn();
        ssize_t n = recv(fd, text + used, cap - used - 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return;
        if (n > 0)
            used += (size_t)n;
        text[used] = '\0';
        if (stop && strstr(text, stop))
            return;
    }
}

/* Sends a whole request and returns the answer (static); the status into *status. */
static const char *ask(const char *request, int *status)
{
    static char text[1 << 20];
    int fd = dial();

    text[0] = '\0';
    *status = 0;
    say(fd, request, strlen(request));
    shutdown(fd, SHUT_WR);
    hear(fd, text, sizeof(text), NULL);
    close(fd);
    sscanf(text, "HTTP/1.%*d %d", status);
    const char *body = strstr(text, "\r\n\r\n");
    return body ? body + 4 : "";
}

#define HEAD "Host: x\r\nConnection: close\r\n"

static json_t *get_json(const char *target)
{
    char request[512];
    int status;
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" HEAD "\r\n", target);
    json_t *json = json_loads(ask(request, &status), 0, NULL);
    cr_assert_eq(status, 200);
    cr_assert_not_null(json);
    return json;
}

static const char *post(const char *target, const char *body, int *status)
{
    char request[2048];
    snprintf(request, sizeof(request), "POST %s HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n%s",
             target, strlen(body), body);
    return ask(request, status);
}

Test(api, socket_is_private)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(api, version_status_and_peers)
{
    json_t *o = get_json("/v1/version");
    cr_assert_str_eq(json_string_value(json_object_get(o, "name")), "guest-1");
    cr_assert_eq(json_string_length(json_object_get(o, "id")), 64);
    cr_assert_eq(json_integer_value(json_object_get(o, "protocol")), MSG_VERSION_MAX);
    json_decref(o);

    fake.shares = 1;
    o = get_json("/v1/status");
    json_t *t = json_array_get(json_object_get(o, "transfers"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(t, "state")), "failed");
    cr_assert_str_eq(json_string_value(json_object_get(t, "path")), "/tmp/?\n");
    cr_assert(json_is_null(json_object_get(t, "source_copies")));
    cr_assert_float_eq(json_real_value(json_object_get(t, "copies_sent")), 2.5, 1e-9);
    cr_assert_str_eq(json_string_value(json_object_get(t, "error")), strerror(ENOSPC));
    t = json_object_get(o, "node");
    cr_assert_float_eq(json_real_value(json_object_get(t, "uptime_seconds")), 1.5, 1e-9);
    json_decref(o);

    o = get_json("/v1/peers");
    json_t *peers = json_object_get(o, "peers");
    cr_assert_eq(json_array_size(peers), 3);
    t = json_array_get(peers, 0);
    cr_assert_eq(json_string_length(json_object_get(t, "id")), 64);
    cr_assert_str_eq(json_string_value(json_object_get(t, "address")), "10.0.0.1");
    cr_assert_eq(json_integer_value(json_object_get(t, "port")), 77);
    cr_assert_str_eq(json_string_value(json_object_get(t, "name")), "<b>\xe2\x80\xae");
    cr_assert(json_is_null(json_object_get(t, "shares")));
    t = json_array_get(peers, 1);
    cr_assert_eq(json_string_length(json_object_get(t, "id")), 16);
    cr_assert_str_eq(json_string_value(json_object_get(t, "address")), "fe80::1%lo");
    t = json_array_get(peers, 2);
    cr_assert_str_eq(json_string_value(json_object_get(t, "address")), "127.0.0.1");
    cr_assert_str_eq(json_string_value(json_object_get(t, "error")), err_text(ERR_TLS));
    json_decref(o);
}

Test(api, catalog)
{
    struct msg_entry e = {.bytes = 5, .files = 1, .state = MSG_STATE_COMPLETE, .name = "song"};
    uint8_t host[HASH_LEN] = {1};

    cr_assert_eq(catalog_set(fake.catalog, host, false, &e, 1), 0);
    json_t *o = get_json("/v1/catalog");
    json_t *s = json_array_get(json_object_get(o, "shares"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(s, "name")), "song");
    cr_assert_str_eq(json_string_value(json_object_get(s, "state")), "remote");
    cr_assert_eq(json_integer_value(json_object_get(s, "sources")), 1);
    cr_assert_eq(json_array_size(json_object_get(s, "names")), 1);
    json_decref(o);
}

Test(api, what_a_web_page_would_send_is_refused)
{
    static const char *const bad[] = {
        "GET /v1/version HTTP/1.1\r\n" HEAD "Origin: http://evil\r\n\r\n",
        "GET /v1/version HTTP/1.1\r\n" HEAD "oRIGIN: null\r\n\r\n",
        "GET http://evil/v1/version HTTP/1.1\r\n" HEAD "\r\n",
        "GET //evil/v1/version HTTP/1.1\r\n" HEAD "\r\n",
        "GET * HTTP/1.1\r\n" HEAD "\r\n",
        "GET v1/version HTTP/1.1\r\n" HEAD "\r\n",
        "GET /v1/version HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /v1/version HTTP/1.1\r\n" HEAD "Host: x\r\n\r\n",
        "GET /v1/version?x=1 HTTP/1.1\r\n" HEAD "\r\n",
        "GET /v1/version HTTP/1.1\r\n" HEAD "Content-Length: 1\r\n\r\nx",
        "POST /v1/verify HTTP/1.1\r\n" HEAD "Transfer-Encoding: chunked\r\n\r\n"
        "e\r\n{\"what\":\"abc\"}\r\n0\r\n\r\n",
        "POST /v1/verify HTTP/1.1\r\n" HEAD "Content-Length: +14\r\n\r\n{\"what\":\"abc\"}",
        "POST /v1/verify HTTP/1.1\r\n" HEAD
        "Content-Length: 14\r\nContent-Length: 14\r\n\r\n{\"what\":\"abc\"}",
        "POST /v1/verify HTTP/1.1\r\n" HEAD "Content-Length: 0x0\r\n\r\n",
        "POST /v1/version HTTP/1.1\r\n" HEAD "Content-Length: 0\r\n\r\n",
        "GET /v1/downloads HTTP/1.1\r\n" HEAD "\r\n",
    };
    int status;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(bad[i], &status);
        cr_expect(status == 400 || status == 0, "case %zu: %d", i, status);
    }
    cr_assert_eq(fake.started, 0);
}

Test(api, unknown_paths_and_methods)
{
    static const char *const targets[] = {
        "/", "/v1", "/v2/version", "/v1/version/", "/v1/../v1/version", "/V1/version"};
    char request[256];
    int status;

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" HEAD "\r\n", targets[i]);
        ask(request, &status);
        cr_expect_eq(status, 404, "%s: %d", targets[i], status);
    }
    ask("PUT /v1/version HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_expect_geq(status, 400);
    ask("TRACE / HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_expect_geq(status, 400);
}

Test(api, too_much_is_refused)
{
    static char request[200000];
    int status;

    size_t n = (size_t)sprintf(request, "GET /v1/version HTTP/1.1\r\n" HEAD "X: ");
    memset(request + n, 'x', 20000);
    strcpy(request + n + 20000, "\r\n\r\n");
    ask(request, &status);
    cr_expect_neq(status, 200, "header over 16 KiB");

    n = (size_t)sprintf(request,
                        "POST /v1/verify HTTP/1.1\r\n" HEAD "Content-Length: 70000\r\n\r\n");
    memset(request + n, ' ', 70000);
    request[n + 70000] = '\0';
    ask(request, &status);
    cr_expect_neq(status, 200, "body over 64 KiB");
    cr_assert_eq(fake.started, 0);
}

Test(api, bodies_that_do_not_fit_are_refused)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        {"/v1/shares", ""},
        {"/v1/shares", "[]"},
        {"/v1/shares", "{"},
        {"/v1/shares", "{}"},
        {"/v1/shares", "{\"path\": 1}"},
        {"/v1/shares", "{\"path\": \"relative\"}"},
        {"/v1/shares", "{\"path\": \"/x\", \"other\": 1}"},
        {"/v1/shares", "{\"path\": \"/x\", \"path\": \"/y\"}"},
        {"/v1/shares", "{\"path\": \"/x\\u0000y\"}"},
        {"/v1/shares", "{\"path\": \"/x\", \"name\": \"\"}"},
        {"/v1/downloads", "{\"dest\": \"/y\"}"},
        {"/v1/downloads", "{\"what\": \"x\", \"dest\": \"y\"}"},
        {"/v1/downloads", "{\"what\": \"\", \"dest\": \"/y\"}"},
        {"/v1/verify", "{\"what\": null}"},
    };
    int status;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *o = json_loads(post(cases[i].target, cases[i].body, &status), 0, NULL);
        cr_expect_eq(status, 400, "case %zu: %d", i, status);
        cr_expect_eq(json_integer_value(json_object_get(o, "code")), 2);
        json_decref(o);
    }
    cr_assert_eq(fake.started, 0);
}

Test(api, unshare_and_torrent_take_what)
{
    int status;

    ask("DELETE /v1/shares?what=my%20share%2B HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 200);
    cr_assert_eq(fake.unshared, 1);
    const char *body = ask("DELETE /v1/shares?what=two HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 409);
    cr_assert_not_null(strstr(body, "\"code\":4"), "%s", body);
    ask("DELETE /v1/shares?what=three HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 404);
    ask("DELETE /v1/shares?what= HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 400);
    ask("DELETE /v1/shares HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 400);
    ask("DELETE /v1/shares?what=a&what=b HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 400);
    ask("DELETE /v1/shares?what=a%00 HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 400);
    ask("DELETE /v1/shares?what=%ff HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 400);
    cr_assert_eq(fake.unshared, 1);
    body = ask("GET /v1/torrent?what=my%20share%2B HTTP/1.1\r\n" HEAD "\r\n", &status);
    cr_assert_eq(status, 200);
    cr_assert_str_eq(body, "d4:infoe");
}

/* --- streams --- */

static int begin_get(char *text, size_t cap)
{
    static const char request[] = "POST /v1/downloads HTTP/1.1\r\nHost: x\r\nContent-Length: "
                                  "32\r\n\r\n{\"what\": \"song\", \"dest\": \"/tmp\"} ";
    int fd = dial();

    text[0] = '\0';
    say(fd, request, sizeof(request) - 1);
    while (!fake.started)
        turn();
    hear(fd, text, cap, "\r\n\r\n");
    cr_assert_not_null(strstr(text, "application/x-ndjson"), "%s", text);
    cr_assert_str_eq(fake.job.what, "song");
    cr_assert_str_eq(fake.job.extra, "/tmp");
    return fd;
}

static void emit(struct node_event ev)
{
    struct node_share share = {.share = &fake.own,
                               .state = NODE_RUNNING,
                               .peers = 1,
                               .peers_seen = 7,
                               .source_copies = 1.25};
    ev.share = &share;
    fake.job.fn(fake.job.arg, &ev);
}

Test(api, a_job_streams_progress_and_its_end)
{
    static char text[1 << 16];
    int fd = begin_get(text, sizeof(text));

    emit((struct node_event){.type = NODE_EVENT_PROGRESS});
    emit((struct node_event){.type = NODE_EVENT_PROGRESS}); /* too soon: left out */
    emit((struct node_event){.type = NODE_EVENT_DONE, .elapsed_ms = 100});
    hear(fd, text, sizeof(text), NULL);
    cr_assert_not_null(strstr(text, "\"event\":\"progress\""));
    cr_assert_null(strstr(strstr(text, "\"progress\"") + 1, "\"progress\""), "at most 5 a second");
    const char *done = strstr(text, "\"event\":\"done\"");
    cr_assert_not_null(done);
    cr_assert_not_null(strstr(text, "\"verified\":true"));
    cr_assert_not_null(strstr(text, "\"peers\":7"));
    cr_assert_not(fake.job.abandoned);
    close(fd);
}

Test(api, an_error_carries_sentence_and_code)
{
    static char text[1 << 16];
    int fd = begin_get(text, sizeof(text));

    emit((struct node_event){.type = NODE_EVENT_ERROR, .err = -ENOSPC, .text = "no room in /tmp"});
    hear(fd, text, sizeof(text), NULL);
    cr_assert_not_null(strstr(text, "\"event\":\"error\""));
    cr_assert_not_null(strstr(text, "no room in /tmp"));
    cr_assert_not_null(strstr(text, "\"code\":6"));
    close(fd);
}

Test(api, a_client_that_goes_away_abandons_its_job)
{
    static char text[1 << 16];
    int fd = begin_get(text, sizeof(text));

    close(fd); /* with nothing to write: it must be noticed all the same */
    while (!fake.job.abandoned)
        turn();
}

Test(api, a_client_that_goes_away_amid_lines_abandons_its_job)
{
    static char text[1 << 16];
    int fd = begin_get(text, sizeof(text));

    emit((struct node_event){.type = NODE_EVENT_PROGRESS});
    close(fd);
    while (!fake.job.abandoned)
        turn();
}

/* More requests behind a stream: not answered, and no way to hide the end. */
Test(api, a_client_that_talks_on_and_goes_away)
{
    static char text[1 << 16];
    static const char more[] = "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = begin_get(text, sizeof(text));

    for (int i = 0; i < 20000; i++) { /* far more than is read while a stream goes on */
        if (send(fd, more, sizeof(more) - 1, MSG_NOSIGNAL) < 0)
            break;
        turn();
    }
    cr_assert_eq(errno, EAGAIN, "what nobody waits for must not pile up in memory");
    emit((struct node_event){.type = NODE_EVENT_PROGRESS});
    hear(fd, text, sizeof(text), "\"progress\"");
    cr_assert_not(fake.job.abandoned);
    close(fd);
    while (!fake.job.abandoned)
        turn();
}

Test(api, the_end_of_the_api_abandons_jobs)
{
    static char text[1 << 16];
    int fd = begin_get(text, sizeof(text));

    api_free(api);
    api = NULL;
    cr_assert(fake.job.abandoned);
    close(fd);
}

Test(api, a_job_that_does_not_start)
{
    int status;

    fake.start_err = ERR_LIMIT;
    const char *body = post("/v1/verify", "{\"what\":\"x\"}", &status);
    cr_assert_eq(status, 500);
    cr_assert_not_null(strstr(body, "\"code\":1"), "%s", body);
    fake.start_err = ERR_NOT_FOUND;
    post("/v1/verify", "{\"what\":\"x\"}", &status);
    cr_assert_eq(status, 404);
}

Test(api, watch_begins_at_once)
{
    static char text[1 << 16];
    static const char request[] = "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = dial();

    text[0] = '\0';
    say(fd, request, sizeof(request) - 1);
    hear(fd, text, sizeof(text), "\"transfers\"");
    close(fd);
    turn();
}

/* --- connections --- */

Test(api, a_flood_of_connections_waits_its_turn)
{
    static const char request[] = "GET /v1/version HTTP/1.1\r\n" HEAD "\r\n";
    int fds[40];
    char text[4096] = "";

    for (int i = 0; i < 40; i++) {
        fds[i] = dial();
        turn();
    }
    /* Number 40 is served once the others have gone. */
    say(fds[39], request, sizeof(request) - 1);
    for (int i = 0; i < 100; i++)
        turn();
    cr_assert_lt(recv(fds[39], text, sizeof(text), 0), 0);
    cr_assert_eq(errno, EAGAIN, "not served while 32 are in");
    for (int i = 0; i < 39; i++)
        close(fds[i]);
    hear(fds[39], text, sizeof(text), NULL);
    cr_assert_not_null(strstr(text, "200 OK"));
    close(fds[39]);
}

/* CVE-2026-63388: evhttp and a client whose own socket path fills sun_path. */
Test(api, a_client_bound_to_the_longest_path)
{
    static const char request[] = "GET /v1/version HTTP/1.1\r\n" HEAD "\r\n";
    struct sockaddr_un own = {.sun_family = AF_UNIX}, addr = {.sun_family = AF_UNIX};
    char text[4096], name[sizeof(own.sun_path) + 1] = "";

    for (size_t len = sizeof(own.sun_path) - 8; len <= sizeof(own.sun_path); len++) {
        memset(name, 'x', sizeof(name));
        memcpy(name, dir, strlen(dir));
        name[strlen(dir)] = '/';
        name[len] = '\0';
        memcpy(own.sun_path, name, len);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&own,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
        strcpy(addr.sun_path, path);
        cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
        text[0] = '\0';
        say(fd, request, sizeof(request) - 1);
        hear(fd, text, sizeof(text), NULL);
        cr_assert_not_null(strstr(text, "200 OK"), "length %zu: %s", len, text);
        close(fd);
        cr_assert_eq(unlink(name), 0);
    }
}

Test(api, a_live_socket_is_not_taken_a_stale_one_is)
{
    char error[1024];
    struct api *second;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    cr_assert_eq(api_new(base, &fake, dir, &second, error), -EADDRINUSE);
    cr_assert_null(second);
    cr_assert_not_null(strstr(error, "another rondad"), "%s", error);
    json_decref(get_json("/v1/version"));
    api_free(api);

    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(addr.sun_path, path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd); /* as after kill -9 */
    cr_assert_eq(api_new(base, &fake, dir, &api, error), 0, "%s", error);
    json_decref(get_json("/v1/version"));
}

Test(api, unsafe_and_impossible_runtime_directories)
{
    char error[1024], sub[400], deep[512];
    struct api *second;
    struct stat st;

    snprintf(sub, sizeof(sub), "%s/open", dir);
    cr_assert_eq(mkdir(sub, 0700), 0);
    cr_assert_eq(chmod(sub, 0777), 0);
    cr_assert_eq(api_new(base, &fake, sub, &second, error), -EPERM);
    cr_assert_not_null(strstr(error, sub), "%s", error);
    rmdir(sub);
    cr_assert_eq(symlink("/tmp", sub), 0);
    cr_assert_eq(api_new(base, &fake, sub, &second, error), -EPERM);
    unlink(sub);

    snprintf(deep, sizeof(deep), "%s/made/here", dir);
    cr_assert_eq(api_new(base, &fake, deep, &second, error), 0, "%s", error);
    cr_assert_eq(stat(deep, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    api_free(second);
    rmdir(deep);
    *strrchr(deep, '/') = '\0';
    rmdir(deep);

    snprintf(sub, sizeof(sub), "%s/%0120d", dir, 1);
    cr_assert_eq(api_new(base, &fake, sub, &second, error), -ENAMETOOLONG);
    cr_assert_not_null(strstr(error, "--runtime-dir"), "%s", error);
    rmdir(sub);
    cr_assert_eq(api_new(base, &fake, "/dev/null/x", &second, error), -ENOTDIR);
}

Test(api, a_group_gets_in_when_the_directory_says_so)
{
    char error[1024], sub[128], name[160];
    struct api *second;
    struct stat st;

    snprintf(sub, sizeof(sub), "%s/group", dir);
    cr_assert_eq(mkdir(sub, 0700), 0);
    cr_assert_eq(chmod(sub, 0750), 0);
    cr_assert_eq(api_new(base, &fake, sub, &second, error), 0, "%s", error);
    snprintf(name, sizeof(name), "%s/" API_SOCKET_NAME, sub);
    cr_assert_eq(stat(name, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0660);
    api_free(second);
    rmdir(sub);
}

Test(api, exit_codes)
{
    cr_assert_eq(api_exit_code(0), 0);
    cr_assert_eq(api_exit_code(ERR_CONFIG), 2);
    cr_assert_eq(api_exit_code(ERR_NOT_FOUND), 4);
    cr_assert_eq(api_exit_code(ERR_AMBIGUOUS), 4);
    cr_assert_eq(api_exit_code(ERR_HASH), 5);
    cr_assert_eq(api_exit_code(-ENOSPC), 6);
    cr_assert_eq(api_exit_code(-EACCES), 1);
    cr_assert_eq(api_exit_code(ERR_TIMEOUT), 1);
}

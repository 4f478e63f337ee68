#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/exit.h"
#include "cli/lines.h"

/* Answers each connection with the same bytes, in pieces of `piece` bytes. */
struct server {
    char dir[64], path[96], request[4096];
    const char *answer;
    size_t piece;
    int listener, hold_fd; /* hold_fd >= 0: after the answer, wait until it is closed */
    pthread_t thread;
};

static void answer_one(struct server *s, int fd)
{
    size_t have = 0;
    ssize_t got;
    while (have + 1 < sizeof(s->request) &&
           (got = read(fd, s->request + have, sizeof(s->request) - 1 - have)) > 0) {
        have += (size_t)got;
        s->request[have] = '\0';
        const char *end = strstr(s->request, "\r\n\r\n"),
                   *len = strstr(s->request, "Content-Length:");
        if (end != NULL && have >= (size_t)(end + 4 - s->request) +
                                       (len != NULL ? strtoul(len + 15, NULL, 10) : 0))
            break;
    }
    for (size_t at = 0, all = strlen(s->answer); at < all; at += s->piece) {
        size_t left = all - at;
        if (send(fd, s->answer + at, left < s->piece ? left : s->piece, MSG_NOSIGNAL) < 0)
            break;
    }
    char byte;
    if (s->hold_fd >= 0)
        (void)!read(s->hold_fd, &byte, 1);
    close(fd);
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    if (fd >= 0)
        answer_one(s, fd);
    return NULL;
}

static void server_start(struct server *s, const char *answer, size_t piece, int hold_fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    *s = (struct server){.answer = answer, .piece = piece, .hold_fd = hold_fd};
    strcpy(s->dir, "/tmp/ronda-test-XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof(s->path), "%s/s", s->dir);
    strcpy(addr.sun_path, s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(s->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(s->listener, 1), 0);
    cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->dir);
}

static const struct client_request get_status = {.method = "GET", .path = "/v1/status"};

static int ask(struct server *s, struct client **c, json_t **reply)
{
    cr_assert_eq(client_new(s->path, -1, c), EXIT_DONE);
    int code = client_json(*c, &get_status, reply);
    server_stop(s);
    return code;
}

Test(client, one_document)
{
    struct server s;
    struct client *c;
    json_t *reply;
    setenv("http_proxy", "http://192.0.2.1:1", 1); /* must not come between */
    server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", 1, -1);
    cr_assert_eq(ask(&s, &c, &reply), EXIT_DONE, "%s", client_error(c));
    cr_expect_eq(json_integer_value(json_object_get(reply, "a")), 1);
    cr_expect_eq(strncmp(s.request, "GET /v1/status HTTP/1.1\r\n", 25), 0);
    cr_expect_null(strstr(s.request, "Transfer-Encoding"));
    cr_expect_null(strstr(s.request, "Origin"));
    json_decref(reply);
    client_free(c);
}

Test(client, errors_carry_their_code)
{
    struct server s;
    struct client *c;
    json_t *reply;
    server_start(&s,
                 "HTTP/1.1 404 Not Found\r\nContent-Length: 37\r\n\r\n"
                 "{\"error\": \"nothing there\", \"code\": 4}",
                 3, -1);
    cr_expect_eq(ask(&s, &c, &reply), EXIT_NOT_FOUND);
    cr_expect_str_eq(client_error(c), "nothing there");
    cr_expect_null(reply);
    client_free(c);
}

static void expect_bad_answer(const char *answer, int code)
{
    struct server s;
    struct client *c;
    json_t *reply;
    server_start(&s, answer, 64, -1);
    cr_expect_eq(ask(&s, &c, &reply), code, "%s", answer);
    cr_expect_neq(client_error(c)[0], '\0');
    cr_expect_null(reply);
    client_free(c);
}

Test(client, bad_answers_are_errors)
{
    expect_bad_answer("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops", EXIT_FAILED);
    expect_bad_answer("HTTP/1.1 404 No\r\nContent-Length: 14\r\n\r\n{\"code\": 1000}", EXIT_FAILED);
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", EXIT_FAILED);
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EXIT_FAILED);
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{", EXIT_NO_DAEMON);
    expect_bad_answer("", EXIT_NO_DAEMON);
}

Test(client, no_daemon)
{
    struct client *c;
    json_t *reply;
    cr_assert_eq(client_new("/nonexistent/ronda.sock", -1, &c), EXIT_DONE);
    cr_expect_eq(client_json(c, &get_status, &reply), EXIT_NO_DAEMON);
    cr_expect_not_null(strstr(client_error(c), "/nonexistent/ronda.sock"));
    cr_expect_not_null(strstr(client_error(c), "rondad"));
    client_free(c);
}

Test(client, a_path_no_socket_can_have)
{
    char path[200];
    struct client *c;
    json_t *reply;
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    cr_assert_eq(client_new(path, -1, &c), EXIT_DONE);
    cr_expect_eq(client_json(c, &get_status, &reply), EXIT_USAGE);
    client_free(c);
}

Test(client, what_is_encoded)
{
    const struct client_request rq = {
        .method = "DELETE", .path = "/v1/shares", .what = "a b&c/\xc3\xb1"};
    struct server s;
    struct client *c;
    json_t *reply;
    server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 64, -1);
    cr_assert_eq(client_new(s.path, -1, &c), EXIT_DONE);
    cr_expect_eq(client_json(c, &rq, &reply), EXIT_DONE);
    server_stop(&s);
    cr_expect_eq(strncmp(s.request, "DELETE /v1/shares?what=a%20b%26c%2F%C3%B1 HTTP/1.1\r\n", 52),
                 0);
    json_decref(reply);
    client_free(c);
}

static void count_progress(void *arg, const json_t *line)
{
    unsigned *sum = arg;
    *sum += (unsigned)json_integer_value(json_object_get(line, "done_bytes"));
}

#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"

static int run_job(const char *answer, size_t piece, unsigned *sum, json_t **done, char error[256])
{
    struct server s;
    struct client *c;
    json_t *body = json_pack("{s:s}", "what", "talk");
    server_start(&s, answer, piece, -1);
    cr_assert_eq(client_new(s.path, -1, &c), EXIT_DONE);
    int code = client_job(c, "/v1/downloads", body, count_progress, sum, done);
    server_stop(&s);
    snprintf(error, 256, "%s", client_error(c));
    cr_expect_not_null(strstr(s.request, "Content-Type: application/json\r\n"));
    cr_expect_not_null(strstr(s.request, "\r\n\r\n{\"what\":\"talk\"}"));
    json_decref(body);
    client_free(c);
    return code;
}

Test(client, streams_split_at_any_byte)
{
    static const char answer[] =
        STREAM_HEAD "{\"event\": \"progress\", \"done_bytes\": 1}\n\n{\"event\": \"progress\", "
                    "\"done_bytes\": 2}\n"
                    "{\"event\": \"news\"}\n[]\n{\"event\": \"done\", \"bytes\": 3}\n";
    for (size_t piece = 1; piece < sizeof(answer); piece = piece < 8 ? piece + 1 : piece * 2) {
        unsigned sum = 0;
        json_t *done;
        char error[256];
        cr_assert_eq(run_job(answer, piece, &sum, &done, error), EXIT_DONE, "piece %zu: %s", piece,
                     error);
        cr_expect_eq(sum, 3u);
        cr_expect_eq(json_integer_value(json_object_get(done, "bytes")), 3);
        json_decref(done);
    }
}

static void expect_job(const char *answer, int code, const char *text)
{
    unsigned sum = 0;
    json_t *done;
    char error[256];
    cr_expect_eq(run_job(answer, 16, &sum, &done, error), code, "%s", answer);
    cr_expect_not_null(strstr(error, text), "%s", error);
    cr_expect_null(done);
}

Test(client, jobs_fail_with_their_code)
{
    expect_job(STREAM_HEAD "{\"event\": \"error\", \"error\": \"no space\", \"code\": 6}\n",
               EXIT_NO_SPACE, "no space");
    expect_job(STREAM_HEAD "{\"event\": \"error\", \"error\": \"bad\", \"code\": 5}",
               EXIT_INTEGRITY, "bad");
    expect_job(STREAM_HEAD "{\"event\": \"progress\", \"done_bytes\": 1}\n", EXIT_NO_DAEMON,
               "went away");
    expect_job(STREAM_HEAD "what?\n", EXIT_FAILED, "not JSON");
    expect_job(
        "HTTP/1.1 400 Bad\r\nContent-Length: 31\r\n\r\n{\"error\": \"no such\", \"code\": 2}",
        EXIT_USAGE, "no such");
}

Test(client, a_stop_ends_a_stream_that_says_nothing)
{
    int stop[2], hold[2];
    struct server s;
    struct client *c;
    json_t *done;
    unsigned sum = 0;
    cr_assert_eq(pipe(stop), 0);
    cr_assert_eq(pipe(hold), 0);
    server_start(&s, STREAM_HEAD, 64, hold[0]);
    cr_assert_eq(client_new(s.path, stop[0], &c), EXIT_DONE);
    cr_assert_eq(write(stop[1], "x", 1), 1);
    cr_expect_eq(client_job(c, "/v1/downloads", NULL, count_progress, &sum, &done), EXIT_STOPPED);
    cr_expect_null(done);
    client_free(c);
    close(hold[1]);
    /* the request may have ended before the server had accepted it */
    server_stop(&s);
    close(hold[0]);
    close(stop[0]);
    close(stop[1]);
}

Test(client, who_was_stopped_may_ask_one_thing_more)
{
    int stop[2];
    struct server s;
    struct client *c;
    json_t *reply;
    cr_assert_eq(pipe(stop), 0);
    cr_assert_eq(write(stop[1], "x", 1), 1);
    server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", 64, -1);
    cr_assert_eq(client_new(s.path, stop[0], &c), EXIT_DONE);
    cr_expect_eq(client_json_stopped(c, &get_status, &reply), EXIT_DONE, "%s", client_error(c));
    cr_expect_eq(json_integer_value(json_object_get(reply, "a")), 1);
    json_decref(reply);
    server_stop(&s);
    client_free(c);
    close(stop[0]);
    close(stop[1]);
}

struct seen {
    char text[64];
    unsigned count;
};

static int see(void *arg, const char *line, size_t len)
{
    struct seen *s = arg;
    strncat(s->text, line, len);
    strcat(s->text, ";");
    return ++s->count == 3 ? 77 : 0;
}

Test(lines, cut_at_newlines)
{
    static const char text[] = "ab\n\nc\nd";
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct lines l = {0};
        struct seen s = {0};
        cr_expect_eq(lines_feed(&l, text, cut, see, &s), 0);
        cr_expect_eq(lines_feed(&l, text + cut, sizeof(text) - 1 - cut, see, &s), 0);
        cr_expect_str_eq(s.text, "ab;c;");
        cr_expect_eq(lines_end(&l, see, &s), 77);
        cr_expect_str_eq(s.text, "ab;c;d;");
        lines_free(&l);
    }
}

Test(lines, a_line_has_an_end)
{
    struct lines l = {0};
    struct seen s = {0};
    size_t len = (size_t)LINES_LINE_MAX + 1;
    char *text = calloc(1, len);
    memset(text, 'x', len);
    cr_expect_eq(lines_feed(&l, text, len, see, &s), -EMSGSIZE);
    cr_expect_eq(s.count, 0u);
    free(text);
    lines_free(&l);
}

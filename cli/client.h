/* client: the CLI's end of the control API, HTTP on a unix socket by libcurl.
 * The contract of what is asked and answered is daemon/api.h.
 *
 * Every call returns an exit code (cli/exit.h); when it is not EXIT_DONE,
 * client_error() is one sentence about it, not escaped yet.
 */
#ifndef RONDA_CLIENT_H
#define RONDA_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/exit.h"

enum {
    CLIENT_BODY_MAX = 64 << 20, /* of an answer that is kept whole */
    CLIENT_ERROR_BYTES = 2048,
    CLIENT_CONNECT_MS = 5000,
    CLIENT_ANSWER_MS = 60000, /* for an answer that is not a stream */
    CLIENT_STOPPED_MS = 1000  /* the same once the user wants to leave */
};

struct client;

/* method: "GET", "POST" or "DELETE". path: starts with '/'. what: put behind
 * "?what=", encoded here, or NULL. body: borrowed, or NULL. */
struct client_request {
    const char *method, *path, *what;
    const json_t *body;
};

/* Is told each piece of the answer; anything but EXIT_DONE ends the request with it. */
typedef int client_bytes_fn(void *arg, const char *data, size_t len);
/* Is told each line of a stream (borrowed). CLIENT_ENOUGH ends it well. */
typedef int client_line_fn(void *arg, const json_t *line);
enum { CLIENT_ENOUGH = -1 };

/* Connects to nothing yet. stop_fd: a request ends with EXIT_STOPPED once it is
 * readable; -1: none. EXIT_FAILED: out of memory. */
int client_new(const char *socket_path, int stop_fd, struct client **out) EXIT_MUST_CHECK;
void client_free(struct client *c);
const char *client_error(const struct client *c);
/* Was the daemon there, and went away before the last call was over? */
bool client_lost(const struct client *c);

/* One JSON document. *out is the caller's. */
int client_json(struct client *c, const struct client_request *rq, json_t **out) EXIT_MUST_CHECK;
/* The same after EXIT_STOPPED: what is still to be asked before leaving. */
int client_json_stopped(struct client *c, const struct client_request *rq,
                        json_t **out) EXIT_MUST_CHECK;
/* A stream that never says enough ends with EXIT_NO_DAEMON: the daemon went away. */
int client_stream(struct client *c, const struct client_request *rq, client_line_fn *fn,
                  void *arg) EXIT_MUST_CHECK;
int client_bytes(struct client *c, const struct client_request *rq, client_bytes_fn *fn,
                 void *arg) EXIT_MUST_CHECK;

/* A job: POSTs, tells fn each progress line, and leaves the "done" line in *done
 * (the caller's). A line "error" becomes its code and sentence. */
typedef void client_progress_fn(void *arg, const json_t *line);
int client_job(struct client *c, const char *path, const json_t *body, client_progress_fn *fn,
               void *arg, json_t **done) EXIT_MUST_CHECK;

#endif

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/notice.h"
#include "cli/report.h"

enum { GET_ID_DIGITS_MIN = 4 }; /* of an abbreviated id, as the daemon has it */

struct get {
    struct command_context *ctx;
    const char *what; /* the share, as it was typed */
    char *id;         /* of the share, whole; NULL while not known */
    struct notice notice;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* malloc'd and clean; NULL: out of memory. */
static char *get_name(const struct get *get, const json_t *line)
{
    const char *name = report_text(line, "name");
    return render_clean(name[0] != '\0' ? name : get->what, get->ctx->term.ascii);
}

static void get_notice(struct get *get, const json_t *line)
{
    if (get->ctx->term.err) /* the progress line says it */
        return;
    const char *text = notice_step(&get->notice, report_text(line, "state"), now_ms());
    char *name = text != NULL ? get_name(get, line) : NULL;
    if (name != NULL)
        fprintf(stderr, "%s: %s\n", name, text);
    free(name);
}

static void get_on_progress(void *arg, const json_t *line)
{
    struct get *get = arg;
    struct command_context *ctx = get->ctx;
    struct render_progress shown;
    if (get->id == NULL && report_text(line, "id")[0] != '\0')
        get->id = strdup(report_text(line, "id"));
    get_notice(get, line);
    if (ctx->args->json) {
        (void)command_print_json(ctx, json_deep_copy(line));
        return;
    }
    char *clean = get_name(get, line);
    report_transfer_progress(line, clean, &shown);
    if (clean != NULL)
        term_progress(&ctx->term, &shown);
    free(clean);
}

static int get_print(struct command_context *ctx, const json_t *done)
{
    static const char *const keys[] = {"id",
                                       "name",
                                       "bytes",
                                       "seconds",
                                       "peers",
                                       "bytes_from_source",
                                       "duplicates_bytes",
                                       "verified",
                                       "path",
                                       "source_copies",
                                       "source_restarted",
                                       "files",
                                       NULL};
    struct render_style style = term_style(&ctx->term, stdout);
    term_clear(&ctx->term);
    if (!json_is_true(json_object_get(done, "verified"))) /* 0 is a promise */
        return command_fail(ctx, EXIT_INTEGRITY, "not every byte of it is verified");
    if (ctx->args->json)
        return command_print_json(ctx, command_pick(done, keys));
    return report_got(stdout, done, &style) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* The daemon has another current directory. NULL: said why. */
static char *get_dest(struct command_context *ctx)
{
    const char *dir = ctx->args->dir != NULL ? ctx->args->dir : ".";
    struct stat st;
    char *dest = realpath(dir, NULL);
    if (dest == NULL) {
        int err = errno;
        command_fail(ctx, EXIT_FAILED,
                     err == ENOENT ? "%s: %s: make it first with `mkdir -p`" : "%s: %s", dir,
                     strerror(err));
        return NULL;
    }
    if (stat(dest, &st) != 0 || !S_ISDIR(st.st_mode)) {
        command_fail(ctx, EXIT_FAILED, "%s is not a directory: -o takes the one to put it in", dir);
        free(dest);
        return NULL;
    }
    return dest;
}

/* Digits enough to look like the beginning of an id, but too few to be one? */
static bool is_short_id(const char *what)
{
    size_t len = strlen(what);
    return len < GET_ID_DIGITS_MIN && strspn(what, "0123456789abcdefABCDEF") == len;
}

/* Another client may wait for the same share: then the daemon has not stopped. */
static bool get_goes_on(const struct get *get)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/status"};
    json_t *reply;
    if (get->id == NULL || client_json_stopped(get->ctx->client, &rq, &reply) != EXIT_DONE)
        return false;
    bool goes_on = report_is_fetched(reply, get->id);
    json_decref(reply);
    return goes_on;
}

static int get_failed(const struct get *get, int code)
{
    struct command_context *ctx = get->ctx;
    if (code == EXIT_STOPPED && get_goes_on(get))
        return command_fail(ctx, code,
                            "no longer waited for here; it is still being fetched, for another "
                            "`ronda get`");
    if (code == EXIT_STOPPED)
        return command_fail(ctx, code, "stopped; run the same command again to go on from there");
    if (code == EXIT_NO_DAEMON && client_lost(ctx->client))
        return command_fail(ctx, code,
                            "rondad went away; the transfer goes on when it is started again: "
                            "run the same command");
    if (code == EXIT_NOT_FOUND && is_short_id(get->what))
        return command_fail(ctx, code, "%s; the beginning of an id needs at least %d digits",
                            client_error(ctx->client), GET_ID_DIGITS_MIN);
    return command_result(ctx, code);
}

static int get_post(struct get *get, const json_t *body)
{
    struct command_context *ctx = get->ctx;
    json_t *done = NULL;
    int code = client_job(ctx->client, "/v1/downloads", body, get_on_progress, get, &done);
    code = code == EXIT_DONE ? get_print(ctx, done) : get_failed(get, code);
    json_decref(done);
    return code;
}

/* Without the slashes behind it that a shell adds when a folder of this name is here. */
static char *get_what(const char *word)
{
    size_t len = strlen(word);
    while (len > 1 && word[len - 1] == '/')
        len--;
    return strndup(word, len);
}

static int get_into(struct get *get, const char *dest)
{
    json_t *body = json_pack("{s:s, s:s}", "what", get->what, "dest", dest);
    int code = body != NULL
                   ? get_post(get, body)
                   : command_fail(get->ctx, EXIT_FAILED, "%s or %s is not UTF-8", get->what, dest);
    json_decref(body);
    return code;
}

static int get_run(struct command_context *ctx)
{
    char *dest = get_dest(ctx);
    if (dest == NULL)
        return EXIT_FAILED;
    char *what = get_what(ctx->args->words[0]);
    struct get get = {.ctx = ctx, .what = what};
    int code =
        what != NULL ? get_into(&get, dest) : command_fail(ctx, EXIT_FAILED, "out of memory");
    free(get.id);
    free(what);
    free(dest);
    return code;
}

const struct command cmd_get = {
    .name = "get",
    .words = "NAME|ID [-o DIR]",
    .summary = "fetch a share",
    .details =
        "Fetches a share into DIR (default: the current directory) from everybody who has a\n"
        "part of it, and passes on to the others what has arrived. An ID may be shortened to\n"
        "its first 4 digits or more. Ends with 0 only when every byte is verified and in\n"
        "place. Nothing of yours is overwritten: the same file is kept, a different one makes\n"
        "`name (2)`. After Ctrl-C the same command goes on from where it stopped; the\n"
        "transfer stops when nobody waits for it any more.\n\n"
        "  -o, --output-dir DIR  where to put it; it must exist\n\n"
        "With --json: progress lines ({\"event\": \"progress\", ...}), then the result as last "
        "line.\n\n"
        "Examples:\n"
        "  ronda get talk\n"
        "  ronda get 3fa9c1 -o ~/Videos\n"
        "  ronda --json get talk | tail -n 1 | jq .bytes_from_source\n",
    .flags = COMMAND_DIR | COMMAND_LONG,
    .words_min = 1,
    .words_max = 1,
    .run = get_run,
};

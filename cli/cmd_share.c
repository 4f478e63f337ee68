#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

struct share_progress {
    struct term *term;
    char *name; /* clean */
};

static void share_on_progress(void *arg, const json_t *line)
{
    struct share_progress *p = arg;
    struct render_progress shown;
    report_bytes_progress(line, p->name, &shown);
    if (p->name != NULL)
        term_progress(p->term, &shown);
}

/* The last component as it was typed, for the link that is shared under its own
 * name; malloc'd, NULL when what was typed names nothing ("/", ".", ".."). */
static char *typed_name(const char *path)
{
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    size_t start = len;
    while (start > 0 && path[start - 1] != '/')
        start--;
    char *name = strndup(path + start, len - start);
    if (name != NULL && (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        free(name);
        name = NULL;
    }
    return name;
}

/* {path, name?}; NULL: not UTF-8, or out of memory. */
static json_t *share_body(const char *path, const char *typed, const char *name)
{
    const char *slash = strrchr(path, '/');
    json_t *body = json_object();
    if (name == NULL && typed != NULL && slash != NULL && strcmp(slash + 1, typed) != 0)
        name = typed;
    bool whole = json_object_set_new(body, "path", json_string(path)) == 0;
    if (name != NULL)
        whole = whole && json_object_set_new(body, "name", json_string(name)) == 0;
    if (!whole) {
        json_decref(body);
        body = NULL;
    }
    return body;
}

/* Who looks for it by the old name no longer finds it. */
static void share_print_was(const struct command_context *ctx, const json_t *done)
{
    const char *was = report_text(done, "was");
    char *clean = was[0] != '\0' ? render_clean(was, ctx->term.ascii) : NULL;
    if (clean != NULL)
        fprintf(stderr, "was shared as %s\n", clean);
    free(clean);
}

static int share_print(struct command_context *ctx, const json_t *done)
{
    static const char *const keys[] = {"id",      "name",    "bytes", "files", "chunks",
                                       "seconds", "skipped", "was",   NULL};
    uint64_t skipped = report_number(done, "skipped");
    struct render_style style = term_style(&ctx->term, stdout);
    term_clear(&ctx->term);
    if (skipped != 0)
        fprintf(stderr,
                "left out %llu thing%s (links, devices, empty folders, names that are not "
                "UTF-8)\n",
                (unsigned long long)skipped, skipped == 1 ? "" : "s");
    share_print_was(ctx, done);
    if (ctx->args->json)
        return command_print_json(ctx, command_pick(done, keys));
    return report_shared(stdout, done, &style) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int share_post(struct command_context *ctx, const char *path, const json_t *body)
{
    const char *slash = strrchr(path, '/');
    struct share_progress p = {.term = &ctx->term};
    json_t *done = NULL;
    p.name = render_clean(slash != NULL ? slash + 1 : path, ctx->term.ascii);
    int code = client_job(ctx->client, "/v1/shares", body, share_on_progress, &p, &done);
    if (code == EXIT_STOPPED)
        code = command_fail(ctx, code, "stopped; %s is not shared", path);
    else if (code != EXIT_DONE)
        code = command_result(ctx, code);
    else
        code = share_print(ctx, done);
    json_decref(done);
    free(p.name);
    return code;
}

static int share_one(struct command_context *ctx, const char *typed)
{
    char *path = realpath(typed, NULL);
    if (path == NULL) {
        int err = errno;
        return command_fail(ctx, err == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, "%s: %s", typed,
                            strerror(err));
    }
    char *name = typed_name(typed);
    json_t *body = share_body(path, name, ctx->args->name);
    int code = body != NULL
                   ? share_post(ctx, path, body)
                   : command_fail(ctx, EXIT_FAILED,
                                  "%s: the name is not UTF-8: rename it, or use --name", typed);
    json_decref(body);
    free(name);
    free(path);
    return code;
}

static int share_run(struct command_context *ctx)
{
    int first = EXIT_DONE;
    for (size_t i = 0; i < ctx->args->word_count; i++) {
        int code = share_one(ctx, ctx->args->words[i]);
        if (first == EXIT_DONE)
            first = code;
        if (code == EXIT_STOPPED || code == EXIT_NO_DAEMON)
            break;
    }
    return first;
}

const struct command cmd_share = {
    .name = "share",
    .words = "PATH... [--name NAME]",
    .summary = "share files or folders with this network",
    .details =
        "Reads and hashes each PATH and publishes it; returns once it can be fetched. The\n"
        "files stay where they are and must not change while they are shared; after a\n"
        "change, share them again. Links, devices and empty folders inside a folder are left\n"
        "out, and so are files whose names are not UTF-8.\n"
        "Prints one line a share: ID  NAME  SIZE.\n\n"
        "  -n, --name NAME  what the others see (with one PATH; else its last component)\n\n"
        "Examples:\n"
        "  ronda share talk/\n"
        "  ronda share --name 'Debian 12' debian-12.iso\n"
        "  id=$(ronda --json share talk/ | jq -r .id)\n",
    .flags = COMMAND_NAME | COMMAND_LONG,
    .words_min = 1,
    .words_max = COMMAND_WORDS_MAX,
    .run = share_run,
};

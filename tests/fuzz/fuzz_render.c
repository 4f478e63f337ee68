/* Replies of a daemon, rendered for a terminal: whatever JSON comes, the text must be
 * valid UTF-8 without control characters but newline. */
#include <jansson.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/lines.h"
#include "cli/report.h"

typedef int report_fn(FILE *out, const json_t *reply, const struct render_style *style);

static void check_text(const char *text, size_t len)
{
    mbstate_t state = {0};
    while (len > 0) {
        wchar_t c;
        size_t used = mbrtowc(&c, text, len, &state);
        if (used > len || used == 0)
            abort();
        if ((c < 0x20 && c != '\n') || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
            (c >= 0x2066 && c <= 0x2069))
            abort();
        text += used;
        len -= used;
    }
}

static void check_progress(const json_t *reply, unsigned columns)
{
    struct render_progress p;
    char line[RENDER_LINE_BYTES];
    char *name = render_clean(report_text(reply, "name"), false);
    report_transfer_progress(reply, name, &p);
    render_progress(line, &p, columns);
    check_text(line, strlen(line));
    if (columns >= 8 && render_width(line) > columns)
        abort();
    free(name);
}

static int check_reply(void *arg, const char *data, size_t len)
{
    static report_fn *const all[] = {report_catalog, report_status, report_peers,
                                     report_shared,  report_got,    report_verified};
    const struct render_style *style = arg;
    json_t *reply = json_loadb(data, len, JSON_DECODE_ANY, NULL);
    for (size_t i = 0; reply != NULL && i < sizeof(all) / sizeof(all[0]); i++) {
        char *text = NULL;
        size_t text_len = 0;
        FILE *f = open_memstream(&text, &text_len);
        (void)all[i](f, reply, style);
        fclose(f);
        check_text(text, text_len);
        free(text);
    }
    if (reply != NULL)
        check_progress(reply, style->columns);
    json_decref(reply);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    setlocale(LC_CTYPE, "C.UTF-8");
    struct render_style style = {.columns = data[0], .ascii = (data[1] & 1) != 0, .redraws = true};
    struct lines l = {0};
    const char *text = (const char *)data + 2;
    size_t cut = (size - 2) * (data[1] >> 1) / 128;
    (void)lines_feed(&l, text, cut, check_reply, &style);
    (void)lines_feed(&l, text + cut, size - 2 - cut, check_reply, &style);
    (void)lines_end(&l, check_reply, &style);
    lines_free(&l);
    return 0;
}

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_impl.h"
#include "transfer/core/name.h"

enum { CONFIG_NAME_BYTES_MAX = 63, CONFIG_WORKERS_MAX = 64 };

static int set_text(char **slot, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return -ENOMEM;
    free(*slot);
    *slot = copy;
    return 0;
}

/* Decimal digits alone: strtoul() would take signs and spaces. */
static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (n > (max - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return n <= max;
}

/* The place of value in words, or -1. */
static int parse_word(const char *value, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(value, words[i]) == 0)
            return i;
    return -1;
}

static int set_name(struct config *cfg, const char *value)
{
    size_t len = strlen(value);

    if (len == 0 || len > CONFIG_NAME_BYTES_MAX || !name_utf8(value, len))
        return ERR_CONFIG;
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)value[i]))
            return ERR_CONFIG;
    return set_text(&cfg->name, value);
}

static int set_listen(struct config *cfg, const char *value)
{
    uint64_t port;

    if (!parse_number(value, UINT16_MAX, &port))
        return ERR_CONFIG;
    cfg->port = (uint16_t)port;
    cfg->port_set = true;
    return 0;
}

static int set_dir(char **slot, const char *value)
{
    char path[PATH_MAX];
    const char *home = getenv("HOME");

    if (strncmp(value, "~/", 2) == 0 && home && home[0] == '/') {
        if (snprintf(path, sizeof(path), "%s/%s", home, value + 2) >= (int)sizeof(path))
            return ERR_CONFIG;
        value = path;
    }
    return value[0] == '/' ? set_text(slot, value) : ERR_CONFIG;
}

static int set_state_dir(struct config *cfg, const char *value)
{
    return set_dir(&cfg->state_dir, value);
}

static int set_runtime_dir(struct config *cfg, const char *value)
{
    return set_dir(&cfg->runtime_dir, value);
}

static int set_download_dir(struct config *cfg, const char *value)
{
    return set_dir(&cfg->download_dir, value);
}

static unsigned list_count(char *const *list)
{
    unsigned n = 0;

    while (list[n])
        n++;
    return n;
}

void config_list_clear(char **list)
{
    for (; *list; list++) {
        free(*list);
        *list = NULL;
    }
}

static int set_peer(struct config *cfg, const char *value)
{
    char host[256];
    uint16_t port;
    unsigned n = list_count(cfg->peers);

    if (n == CONFIG_PEERS_MAX || config_split_peer(value, host, &port) != 0)
        return ERR_CONFIG;
    return set_text(&cfg->peers[n], value);
}

static int set_patterns(char **list, const char *value)
{
    char *text = strdup(value), *save = NULL;
    unsigned n = 0;
    int err = text ? 0 : -ENOMEM;

    config_list_clear(list);
    for (char *p = text ? strtok_r(text, " \t", &save) : NULL; p && !err;
         p = strtok_r(NULL, " \t", &save))
        err = n < CONFIG_PATTERNS_MAX ? set_text(&list[n++], p) : ERR_CONFIG;
    free(text);
    return err;
}

static int set_skip(struct config *cfg, const char *value)
{
    cfg->skip_set = true; /* also when empty: then nothing is skipped */
    return set_patterns(cfg->skip_interfaces, value);
}

static int set_only(struct config *cfg, const char *value)
{
    return set_patterns(cfg->only_interfaces, value);
}

static int set_wireless(struct config *cfg, const char *value)
{
    static const char *const words[] = {"auto", "no", "yes", NULL};
    int i = parse_word(value, words);

    if (i < 0)
        return ERR_CONFIG;
    cfg->wireless = i - 1;
    return 0;
}

static int set_log(struct config *cfg, const char *value)
{
    static const char *const words[] = {"error", "warn", "info", "debug", NULL};
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                            LOG_LEVEL_DEBUG};
    int i = parse_word(value, words);

    if (i < 0)
        return ERR_CONFIG;
    cfg->log = levels[i];
    return 0;
}

static int set_discovery(struct config *cfg, const char *value)
{
    static const char *const words[] = {"auto", "system", "embedded", "off", NULL};
    static const enum discovery_mode modes[] = {DISCOVERY_AUTO, DISCOVERY_SYSTEM,
                                                DISCOVERY_EMBEDDED, DISCOVERY_OFF};
    int i = parse_word(value, words);

    if (i < 0)
        return ERR_CONFIG;
    cfg->discovery = modes[i];
    return 0;
}

static int set_reserve(struct config *cfg, const char *value)
{
    static const char units[] = "KMGT";
    char digits[32];
    size_t len = strlen(value);
    unsigned shift = 0;

    if (len == 0 || len >= sizeof(digits))
        return ERR_CONFIG;
    memcpy(digits, value, len + 1);
    const char *unit = strchr(units, toupper((unsigned char)value[len - 1]));
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[len - 1] = '\0';
    }
    uint64_t n;
    if (!parse_number(digits, (UINT64_MAX - 1) >> shift, &n))
        return ERR_CONFIG;
    cfg->reserve_bytes = n << shift;
    return 0;
}

static int set_workers(struct config *cfg, const char *value)
{
    uint64_t n;

    if (!parse_number(value, CONFIG_WORKERS_MAX, &n))
        return ERR_CONFIG;
    cfg->workers = (unsigned)n;
    return 0;
}

const struct setting config_settings[] = {
    {"node", "name", "name", set_name, "give 1 to 63 bytes of text", false},
    {"node", "listen", "listen", set_listen, "give a port from 0 (any) to 65535", false},
    {"node", "state-dir", "state-dir", set_state_dir, "give an absolute path", false},
    {"node", "runtime-dir", "runtime-dir", set_runtime_dir, "give an absolute path", false},
    {"node", "download-dir", "download-dir", set_download_dir, "give an absolute path", false},
    {"node", "peer", "peer", set_peer, "give host:port or [address]:port, at most 32 times", true},
    {"node", "wireless", NULL, set_wireless, "give auto, yes or no", false},
    {"node", "log", NULL, set_log, "give error, warn, info or debug", false},
    {"discovery", "mode", "discovery", set_discovery, "give auto, system, embedded or off", false},
    {"discovery", "skip-interfaces", NULL, set_skip, "give at most 32 patterns", false},
    {"discovery", "only-interfaces", NULL, set_only, "give at most 32 patterns", false},
    {"limits", "reserve", NULL, set_reserve, "give bytes, with K, M, G or T if you like", false},
    {"limits", "workers", NULL, set_workers, "give a number from 0 (by the cores) to 64", false},
};

_Static_assert(sizeof(config_settings) / sizeof(config_settings[0]) == CONFIG_SETTINGS, "count");

int config_split_peer(const char *text, char host[static 256], uint16_t *port)
{
    bool bracket = text[0] == '[';
    const char *begin = text + bracket;
    const char *colon = bracket ? strstr(begin, "]:") : strchr(begin, ':');
    uint64_t n;

    if (!colon || colon == begin || colon - begin > 255)
        return ERR_CONFIG;
    if (!parse_number(colon + 1 + bracket, UINT16_MAX, &n) || n == 0)
        return ERR_CONFIG;
    memcpy(host, begin, (size_t)(colon - begin));
    host[colon - begin] = '\0';
    for (const char *h = host; *h; h++)
        if (isspace((unsigned char)*h) || iscntrl((unsigned char)*h) || strchr("[]/", *h))
            return ERR_CONFIG;
    *port = (uint16_t)n;
    return 0;
}

/* config_impl: the table of settings (config_set.c), which the readers of the file
 * and of the command line (config.c) share. For these two alone.
 */
#ifndef RONDA_CONFIG_IMPL_H
#define RONDA_CONFIG_IMPL_H

#include "daemon/config.h"

enum { CONFIG_SETTINGS = 13 };

struct setting {
    const char *section, *key;
    const char *option; /* of the command line, or NULL */
    int (*set)(struct config *cfg, const char *value);
    const char *right; /* "give ..." */
    bool repeats;
};

extern const struct setting config_settings[CONFIG_SETTINGS];

/* Frees the strings of a NULL-terminated list and empties it. */
void config_list_clear(char **list);

#endif

#include "cli/locate.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/api.h"

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool is_socket(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool is_own_dir(const char *path, uid_t uid)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid;
}

void locate_socket(const struct locate_places *places, char path[static LOCATE_PATH_BYTES])
{
    char usual[LOCATE_PATH_BYTES], dir[LOCATE_PATH_BYTES - 64];
    const char *explicit = is_given(places->option) ? places->option : places->environment;
    if (is_given(explicit)) {
        snprintf(path, LOCATE_PATH_BYTES, "%s", explicit);
        return;
    }
    snprintf(dir, sizeof(dir), "%s/ronda-%u", places->tmp_dir, (unsigned)places->uid);
    snprintf(usual, sizeof(usual), "%s/%s", dir, API_SOCKET_NAME);
    if (is_given(places->runtime_dir)) {
        snprintf(path, LOCATE_PATH_BYTES, "%s/ronda/%s", places->runtime_dir, API_SOCKET_NAME);
        if (is_socket(path))
            return;
    }
    snprintf(path, LOCATE_PATH_BYTES, "%s", usual);
    if (is_socket(path) && is_own_dir(dir, places->uid))
        return;
    snprintf(path, LOCATE_PATH_BYTES, "%s/ronda/%s", places->system_dir, API_SOCKET_NAME);
    if (is_socket(path))
        return;
    if (is_given(places->runtime_dir))
        snprintf(path, LOCATE_PATH_BYTES, "%s/ronda/%s", places->runtime_dir, API_SOCKET_NAME);
    else
        snprintf(path, LOCATE_PATH_BYTES, "%s", usual);
}

/* The settings file, and HOST:PORT, from arbitrary bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(const uint8_t *data, size_t size)
{
    char text[512], host[256];
    uint16_t port;

    if (size >= sizeof(text))
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    if (config_split_peer(text, host, &port) == 0 && (port == 0 || !host[0]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], error[CONFIG_ERROR_BYTES];
    struct config cfg;
    int fd = memfd_create("config", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    char *argv[] = {"rondad", "--config", path, NULL};
    int err = config_load(&cfg, 3, argv, error);
    if ((err == 0) != (error[0] == '\0'))
        abort();
    if (err == 0)
        config_free(&cfg);
    close(fd);
    split(data, size);
    return 0;
}

/* A client's bytes through the real HTTP server and routes, to a node of stubs. A
 * zero byte is a pause in which the server works. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/api.h"
#include "tests/unit/fake_node.h"

enum { TURNS = 6 };

static struct event_base *base;
static struct api *api;
static char dir[64];

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void end(void)
{
    api_free(api);
    rmdir(dir);
}

static void begin(void)
{
    char error[1024];

    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/ronda-fuzz-api-XXXXXX");
    require(mkdtemp(dir) != NULL && fake_begin() == 0);
    base = event_base_new();
    require(api_new(base, &fake, dir, &api, error) == 0);
    atexit(end);
}

static int dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" API_SOCKET_NAME, dir);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    return fd;
}

/* Lets the server work, and reads what it says: an answer is HTTP or nothing. */
static void turn(int fd, bool *first)
{
    char text[65536];

    for (int i = 0; i < TURNS; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        ssize_t n = fd < 0 ? 0 : recv(fd, text, sizeof(text), 0);
        require(n < 8 || !*first || memcmp(text, "HTTP/", 5) == 0);
        *first = *first && n <= 0;
    }
}

static void progress(void)
{
    struct node_share share;
    struct node_event ev = {
        .type = NODE_EVENT_PROGRESS, .done_bytes = 1, .total_bytes = 2, .share = &share};

    node_share_at(&fake, 0, &share);
    if (!fake.job.abandoned)
        fake.job.fn(fake.job.arg, &ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool first = true;

    if (base == NULL)
        begin();
    fake.started = 0;
    fake.shares = 1;
    int fd = dial();
    while (size > 0) {
        const uint8_t *zero = memchr(data, 0, size);
        size_t len = zero ? (size_t)(zero - data) : size;
        (void)!send(fd, data, len, MSG_NOSIGNAL);
        turn(fd, &first);
        if (fake.started == 1)
            progress();
        len += zero != NULL;
        data += len;
        size -= len;
    }
    close(fd);
    turn(-1, &first);
    /* Whoever goes away abandons what he asked for. */
    require(fake.started == 0 || fake.job.abandoned);
    return 0;
}

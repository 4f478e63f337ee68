#include "discovery/avahi_clash.h"

#include <avahi-client/client.h>
#include <avahi-core/core.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* Elsewhere the address of a library's function may be our own PLT entry for it. */
#if !defined(__PIE__) && !defined(__PIC__)
#error "has to be compiled as position-independent code"
#endif

/* Not <avahi-client/publish.h>: it declares the one with a single argument. */
int avahi_entry_group_free(void *first, void *second);

typedef int free_fn(void *first, void *second);

static const void *library_of(const void *address, const char **path)
{
    Dl_info info;
    if (!dladdr(address, &info))
        return NULL;
    if (path)
        *path = info.dli_fname;
    return info.dli_fbase;
}

/* The function as the library that has this symbol defines it. */
static free_fn *function_of(const void *symbol)
{
    const char *path;
    free_fn *function = NULL;
    if (!library_of(symbol, &path))
        return NULL;
    void *library = dlopen(path, RTLD_NOLOAD | RTLD_LAZY);
    if (!library)
        return NULL;
    void *address = dlsym(library, "avahi_entry_group_free");
    memcpy(&function, &address, sizeof function);
    dlclose(library); /* only our reference: it stays loaded */
    return function;
}

static const void *core_symbol(void)
{
    __typeof__(&avahi_server_new) function = avahi_server_new;
    const void *address;
    memcpy(&address, &function, sizeof address);
    return address;
}

static const void *client_symbol(void)
{
    __typeof__(&avahi_client_new) function = avahi_client_new;
    const void *address;
    memcpy(&address, &function, sizeof address);
    return address;
}

/* Called by the two libraries; core gives (server, group), client (group). */
__attribute__((visibility("default"), noinline)) int avahi_entry_group_free(void *first,
                                                                            void *second)
{
    const void *caller = library_of(__builtin_return_address(0), NULL);
    bool core = caller && caller == library_of(core_symbol(), NULL);
    free_fn *function = function_of(core ? core_symbol() : client_symbol());
    return function ? function(first, second) : 0;
}

int avahi_clash_client_group_free(void *group)
{
    free_fn *function = function_of(client_symbol());
    return function ? function(group, NULL) : 0;
}

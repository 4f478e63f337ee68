#include "discovery/discovery.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static bool dialable(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return discovery_dialable((struct sockaddr *)&in);
    cr_assert_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1, "%s", text);
    return discovery_dialable((struct sockaddr *)&in6);
}

Test(dialable, private_and_link_local_addresses_are)
{
    static const char *const good[] = {"10.0.0.1",        "10.255.255.254",
                                       "172.16.0.1",      "172.31.255.254",
                                       "192.168.0.1",     "169.254.7.7",
                                       "127.0.0.1",       "100.64.0.1",
                                       "100.127.255.254", "fe80::1",
                                       "febf::1",         "fd00::1",
                                       "fc00::1",         "::1",
                                       "::ffff:10.0.0.1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(dialable(good[i]), "%s", good[i]);
}

/* Documentation and reserved ranges, which no interface of a test host is in. */
Test(dialable, addresses_elsewhere_are_not)
{
    static const char *const bad[] = {"0.0.0.0",
                                      "0.1.2.3",
                                      "224.0.0.251",
                                      "239.255.255.255",
                                      "240.0.0.1",
                                      "255.255.255.255",
                                      "203.0.113.7",
                                      "198.51.100.7",
                                      "172.15.255.255",
                                      "172.32.0.1",
                                      "100.63.255.255",
                                      "100.128.0.1",
                                      "192.169.0.1",
                                      "::",
                                      "ff02::fb",
                                      "2001:db8::1",
                                      "::ffff:203.0.113.7",
                                      "::ffff:224.0.0.1",
                                      "fec0::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(dialable(bad[i]), "%s", bad[i]);
}

Test(dialable, other_families_are_not)
{
    struct sockaddr sa = {.sa_family = AF_UNIX};
    cr_assert_not(discovery_dialable(&sa));
}

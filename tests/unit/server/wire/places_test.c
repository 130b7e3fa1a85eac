/* Too many connections: who goes, and who stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "server/wire/places.h"

enum { MAX = 8, ADDRESS_MAX = 3, ROOM = 64 };

struct world {
    struct places places;
    struct place place[ROOM];
};

static void begin(struct world *w, int address_max)
{
    struct err e;
    *w = (struct world){0};
    assert_int_equal(places_init(&w->places, MAX, address_max, &e), 0);
}

/* Number `i` comes from `from`; the number of who has to go, -1: nobody. */
static int come(struct world *w, int i, const char *from)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    const struct sockaddr *address = NULL;
    if (inet_pton(AF_INET, from, &v4.sin_addr) == 1)
        address = (struct sockaddr *)&v4;
    else if (inet_pton(AF_INET6, from, &v6.sin6_addr) == 1)
        address = (struct sockaddr *)&v6;
    places_take(&w->places, &w->place[i], address);
    struct place *gone = places_crowded(&w->places, &w->place[i]);
    return gone ? (int)(gone - w->place) : -1;
}

static void go(struct world *w, int i)
{
    places_give(&w->places, &w->place[i]);
    w->place[i] = (struct place){0};
}

static void end(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        go(w, i);
    places_fini(&w->places);
}

static void strangers_go_first_and_the_longest_idle_of_them(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 0);
    for (int i = 0; i < MAX; i++)
        assert_int_equal(come(&w, i, "10.0.0.1"), -1);
    places_set_idle(&w.places, &w.place[0], false);
    places_set_known(&w.places, &w.place[1]);
    places_set_idle(&w.places, &w.place[2], false);
    places_set_idle(&w.places, &w.place[2], true); /* it was busy last */
    int expected[] = {3, 4, 5, 6, 7, 2};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(come(&w, MAX + i, "10.0.0.1"), expected[i]);
        places_set_known(&w.places, &w.place[MAX + i]);
        places_set_idle(&w.places, &w.place[MAX + i], false);
    }
    assert_int_equal(come(&w, MAX + 6, "10.0.0.1"), 1); /* with a key, and idle */
    assert_int_equal(come(&w, MAX + 7, "10.0.0.1"), MAX + 6);
    places_set_idle(&w.places, &w.place[MAX + 7], false);
    assert_int_equal(come(&w, MAX + 8, "10.0.0.1"), -1); /* all are busy */
    end(&w, MAX + 9);
}

static void an_address_has_its_share(void **state)
{
    (void)state;
    struct world w;
    begin(&w, ADDRESS_MAX);
    for (int i = 0; i < ADDRESS_MAX; i++)
        assert_int_equal(come(&w, i, "10.0.0.1"), -1);
    assert_int_equal(come(&w, 3, "10.0.0.2"), -1);
    assert_int_equal(come(&w, 4, "10.0.0.1"), 0);
    assert_int_equal(come(&w, 5, "::ffff:10.0.0.1"), 1); /* the same as IPv6 has it */
    places_set_idle(&w.places, &w.place[2], false);
    places_set_idle(&w.places, &w.place[4], false);
    places_set_idle(&w.places, &w.place[5], false);
    assert_int_equal(come(&w, 6, "10.0.0.1"), 6); /* the others are busy */
    end(&w, 7);
}

static void who_has_shown_a_key_counts_for_no_address(void **state)
{
    (void)state;
    struct world w;
    begin(&w, ADDRESS_MAX);
    for (int i = 0; i < MAX; i++) {
        assert_int_equal(come(&w, i, "10.0.0.1"), -1);
        places_set_known(&w.places, &w.place[i]);
    }
    end(&w, MAX);
}

static void a_network_of_ipv6_is_one_address(void **state)
{
    (void)state;
    struct world w;
    begin(&w, ADDRESS_MAX);
    assert_int_equal(come(&w, 0, "2001:db8:1:2::1"), -1);
    assert_int_equal(come(&w, 1, "2001:db8:1:2:ffff::1"), -1);
    assert_int_equal(come(&w, 2, "2001:db8:1:3::1"), -1);
    assert_int_equal(come(&w, 3, "2001:db8:1:2::3"), -1);
    assert_int_equal(come(&w, 4, "2001:db8:1:2::4"), 0);
    assert_int_equal(come(&w, 5, "nonsense"), -1); /* and where no address is known there is no limit */
    end(&w, 6);
}

static void addresses_are_forgotten(void **state)
{
    (void)state;
    struct world w;
    char from[32];
    begin(&w, ADDRESS_MAX);
    for (int i = 0; i < 10000; i++) {
        snprintf(from, sizeof from, "10.%d.%d.1", i >> 8, i & 255);
        come(&w, 0, from);
        if (i % 2)
            places_set_known(&w.places, &w.place[0]);
        go(&w, 0);
    }
    assert_int_equal(w.places.addresses.count, 0);
    end(&w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_go_first_and_the_longest_idle_of_them),
        cmocka_unit_test(an_address_has_its_share),
        cmocka_unit_test(who_has_shown_a_key_counts_for_no_address),
        cmocka_unit_test(a_network_of_ipv6_is_one_address),
        cmocka_unit_test(addresses_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

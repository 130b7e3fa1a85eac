/* A registry in a folder of its own, for tests, and the steps that they share. A step that fails, fails the
 * test. */
#pragma once
#include "adapters/registry/registry.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

struct place {
    char *directory;
    struct registry *registry;
};

struct registry *place_open(const char *directory);
struct registry *place_reopen(struct place *p);
/* Of a cmocka test whose state is a struct place. */
int place_setup(void **state);
int place_teardown(void **state);
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

uint32_t place_tenant(struct registry *r, const char *id);
void place_publish(struct registry *r, const char *tenant, const char *name, unsigned content, bool activate,
                   bool expect_created);
/* The reference leads to this content, and the bytes are right. */
void place_expect_content(struct registry *r, uint32_t tenant, const char *reference, unsigned content);
void place_expect_refused(struct registry *r, uint32_t tenant, const char *reference, const char *code);
void place_expect_stats(struct registry *r, size_t tenants, size_t keys, size_t adapters, size_t versions,
                        size_t broken);

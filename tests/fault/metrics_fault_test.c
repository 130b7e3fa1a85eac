/* Whoever looks at the metrics waits for no disk: not while a change hangs in it, and not after it failed. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/accounting/turns.h"
#include "server/metrics/metrics.h"
#include "server/wire/connections.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/place.h"

/* ---- a disk that hangs when told to, and then fails; it stands before the C library's ---- */

static struct {
    atomic_bool hangs;
    sem_t arrived, go_on;
} disk;

static int hanging_sync(long call, int fd)
{
    if (!atomic_load(&disk.hangs))
        return (int)syscall(call, fd);
    sem_post(&disk.arrived);
    sem_wait(&disk.go_on);
    atomic_store(&disk.hangs, false);
    errno = EIO;
    return -1;
}

int fsync(int fd)
{
    return hanging_sync(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return hanging_sync(SYS_fdatasync, fd);
}

/* ---- what the metrics need of a server ---- */

static struct server server;

static void open_server(struct place *p)
{
    struct err e;
    server = (struct server){.registry = p->registry, .model = fixture_model(fixture_path("models/mlp"))};
    server.info = model_info(server.model);
    server.engine_options = (struct engine_options){
        .threads = 1, .kv_bytes = 1 << 20, .sequences_max = 4, .queue_max = 8, .queue_tenant_max = 8};
    assert_int_equal(engine_new(&server.engine, server.model, &server.engine_options, &e), 0);
    struct connections_options connections = {.max = 8, .address_max = 8};
    assert_int_equal(connections_new(&server.connections, &connections, &e), 0);
    struct turns_options turns = {.name = "text", .threads = 1, .waiting_max = 8, .waiting_tenant_max = 8};
    assert_int_equal(turns_new(&server.turns, &turns, &e), 0);
    server.loader = (struct version_loader){p->registry, server.model};
    assert_int_equal(version_loader_cache(&server.cache, &server.loader, 1 << 20, &e), 0);
}

static void close_server(void)
{
    turns_free(server.turns);
    connections_free(server.connections);
    cache_free(server.cache);
    engine_free(server.engine);
    model_close(server.model);
}

/* The value of one without labels. */
static long number(const char *name)
{
    struct buf text = {0};
    char start[80];
    long value = -1;
    snprintf(start, sizeof start, "\n%s ", name);
    assert_int_equal(metrics_print(&server, &text), 0);
    const char *found = strstr(text.data, start);
    assert_non_null(found);
    assert_int_equal(sscanf(found + strlen(start), "%ld", &value), 1);
    buf_fini(&text);
    return value;
}

static void *create_late(void *registry)
{
    struct err e;
    struct tenant_row row;
    return registry_tenant_create(registry, "late", NULL, &row, &e) == 0 ? registry : NULL;
}

static void metrics_wait_for_no_disk(void **state)
{
    struct place *p = *state;
    pthread_t writer;
    void *created;
    open_server(p);
    place_tenant(p->registry, "early");
    assert_int_equal(number("adapterd_tenants"), 1);
    sem_init(&disk.arrived, 0, 0);
    sem_init(&disk.go_on, 0, 0);
    atomic_store(&disk.hangs, true);
    assert_int_equal(pthread_create(&writer, NULL, create_late, p->registry), 0);
    sem_wait(&disk.arrived); /* the change is under way, and the disk has it */
    assert_int_equal(number("adapterd_tenants"), 1);
    assert_int_equal(number("adapterd_storage_failed"), 0);
    sem_post(&disk.go_on);
    pthread_join(writer, &created);
    assert_null(created);
    assert_int_equal(number("adapterd_storage_failed"), 1);
    assert_int_equal(number("adapterd_tenants"), 1);
    close_server();
    sem_destroy(&disk.arrived);
    sem_destroy(&disk.go_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_PLACE(metrics_wait_for_no_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

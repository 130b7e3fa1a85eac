#include "tests/unit/support/scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void insist(int condition, const char *what)
{
    if (!condition) {
        perror(what);
        abort();
    }
}

char *scratch_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = NULL;
    insist(asprintf(&path, "%s/adapterd-test-XXXXXX", parent ? parent : "/tmp") > 0, "asprintf");
    insist(mkdtemp(path) != NULL, path);
    return path;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

void scratch_remove(char *directory)
{
    insist(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, directory);
    free(directory);
}

void scratch_write(const char *directory, const char *path, const void *data, size_t length)
{
    char *full = NULL;
    insist(asprintf(&full, "%s/%s", directory, path) > 0, "asprintf");
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    insist(fd >= 0 && write(fd, data, length) == (ssize_t)length, full);
    close(fd);
    free(full);
}

static __thread size_t files;

static int count_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)path, (void)status, (void)place;
    files += type == FTW_F;
    return 0;
}

size_t scratch_count(const char *directory, const char *path)
{
    char *full = NULL;
    insist(asprintf(&full, "%s/%s", directory, path) > 0, "asprintf");
    files = 0;
    insist(nftw(full, count_one, 16, FTW_PHYS) == 0, full);
    free(full);
    return files;
}

void scratch_wait_count(const char *directory, const char *path, size_t count)
{
    for (int i = 0; i < 6000 && scratch_count(directory, path) != count; i++)
        usleep(10000);
    insist(scratch_count(directory, path) == count, path);
}

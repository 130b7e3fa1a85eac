#include "tests/fuzz/support/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/model/model.h"

static void fill(int fd, const uint8_t *data, size_t size)
{
    fuzz_check(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    fuzz_check(lseek(fd, 0, SEEK_SET) == 0);
}

int fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    fill(fd, data, size);
    return fd;
}

static char directory[64];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static void remove_directory(void)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_directory(void)
{
    struct stat memory;
    if (directory[0])
        return directory;
    /* Files are written for each input: in memory, where there is a file system of that kind. */
    const char *parent =
        stat("/dev/shm", &memory) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof directory, "%s/adapterd-fuzz-XXXXXX", parent);
    fuzz_check(mkdtemp(directory) && atexit(remove_directory) == 0);
    return directory;
}

void fuzz_write(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_directory(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fill(fd, data, size);
    close(fd);
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    fuzz_check(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

const struct model *fuzz_base(void)
{
    static struct model *m;
    struct err e;
    const struct model_options options = {.threads = 1};
    if (!m)
        fuzz_check(model_open(&m, "tests/fixtures/models/llama", &options, &e) == 0);
    return m;
}

#include "adapters/blobs/modes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, OTHERS = 0077 };

static int tighten_below(int fd, int depth, struct err *e);

/* 0, too, where it went meanwhile or is another user's. */
static int tighten(int parent, const char *name, int depth, struct err *e)
{
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    bool directory = S_ISDIR(status.st_mode);
    if (!directory && !S_ISREG(status.st_mode))
        return 0;
    mode_t wanted = (status.st_mode & 0700) | (directory ? 0700 : 0600);
    if ((status.st_mode & 07777) != wanted && fchmodat(parent, name, wanted, 0) != 0 && errno != EPERM &&
        errno != EROFS && errno != ENOENT)
        return err_errno(e, "cannot change the mode of %s", name);
    if (!directory || depth == DEPTH_MAX)
        return 0;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 ? tighten_below(fd, depth + 1, e) : 0;
}

/* Closes `fd`. */
static int tighten_below(int fd, int depth, struct err *e)
{
    int result = 0;
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return err_memory(e);
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = tighten(fd, entry->d_name, depth, e);
    closedir(directory);
    return result;
}

int modes_tighten(const char *directory, struct err *e)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? tighten_below(fd, 0, e) : err_errno(e, "cannot open directory %s", directory);
}

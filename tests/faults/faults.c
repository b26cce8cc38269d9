/* Loaded with LD_PRELOAD: counts the operations on files below one folder, and at the n-th one ends the process,
   or lets it fail as on a full or broken disk. faults_arm() says where, what and when. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, FULL_ONCE, FULL_FROM, BROKEN_ONCE };
enum { ALLOCATES, OTHER }; /* what reads or takes something away does not fail on a full disk */
static char below[4096];
static int mode = -1;
static long at;
static atomic_long count;
static atomic_int failed;

void faults_arm(const char *folder, int how, long when) {
    strncpy(below, folder, sizeof below - 1);
    at = when;
    count = failed = 0;
    mode = how;
}
long faults_count(void) { return count; }

static int concerns(int folder, const char *path) {
    char name[4096], link[64];
    ssize_t length;
    if (mode < 0) return 0;
    if (path && path[0] == '/') return !strncmp(path, below, strlen(below));
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return !strncmp(name, below, strlen(below));
}

/* Whether the operation fails, with errno set. */
static int fails(int kind, int folder, const char *path) {
    long number;
    int is_full = mode == FULL_ONCE || mode == FULL_FROM;
    if (!concerns(folder, path)) return 0;
    number = ++count;
    if (mode == COUNT || number < at || (is_full && kind == OTHER)) return 0;
    if (mode == KILL) kill(getpid(), SIGKILL);
    if (mode != FULL_FROM && failed++) return 0;
    errno = is_full ? ENOSPC : EIO;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(kind, folder, path, result, name, parameters, arguments) \
    result name parameters { return fails(kind, folder, path) ? (result)-1 : REAL(name) arguments; }
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define OPEN(name, parameters, folder, arguments) \
    int name parameters { \
        mode_t bits = 0; \
        if (flags & O_CREAT) { va_list rest; va_start(rest, flags); bits = va_arg(rest, mode_t); va_end(rest); } \
        return fails(flags & WRITES ? ALLOCATES : OTHER, folder, path) ? -1 : REAL(name) arguments; \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, bits))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, bits))
OPEN(openat, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, bits))
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, bits))
FILE *fopen(const char *path, const char *how) {
    return fails(strpbrk(how, "wa+") ? ALLOCATES : OTHER, AT_FDCWD, path) ? NULL : REAL(fopen)(path, how);
}
FILE *fopen64(const char *path, const char *how) {
    return fails(strpbrk(how, "wa+") ? ALLOCATES : OTHER, AT_FDCWD, path) ? NULL : REAL(fopen64)(path, how);
}
WRAP(OTHER, fd, NULL, ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
WRAP(OTHER, fd, NULL, ssize_t, pread, (int fd, void *to, size_t size, off_t from), (fd, to, size, from))
WRAP(OTHER, fd, NULL, ssize_t, pread64, (int fd, void *to, size_t size, off64_t from), (fd, to, size, from))
WRAP(ALLOCATES, fd, NULL, ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
WRAP(ALLOCATES, fd, NULL, ssize_t, writev, (int fd, const struct iovec *from, int parts), (fd, from, parts))
WRAP(ALLOCATES, fd, NULL, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t to), (fd, from, size, to))
WRAP(ALLOCATES, fd, NULL, ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t to), (fd, from, size, to))
WRAP(ALLOCATES, out, NULL, ssize_t, sendfile, (int out, int in, off_t *from, size_t size), (out, in, from, size))
WRAP(ALLOCATES, out, NULL, ssize_t, sendfile64, (int out, int in, off64_t *from, size_t size), (out, in, from, size))
WRAP(ALLOCATES, out, NULL, ssize_t, copy_file_range,
     (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags), (in, from, out, to, size, flags))
WRAP(ALLOCATES, fd, NULL, int, fsync, (int fd), (fd))
WRAP(ALLOCATES, fd, NULL, int, fdatasync, (int fd), (fd))
WRAP(ALLOCATES, fd, NULL, int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(ALLOCATES, fd, NULL, int, ftruncate64, (int fd, off64_t size), (fd, size))
WRAP(ALLOCATES, AT_FDCWD, path, int, mkdir, (const char *path, mode_t bits), (path, bits))
WRAP(ALLOCATES, AT_FDCWD, path, int, rename, (const char *from, const char *path), (from, path))
WRAP(ALLOCATES, AT_FDCWD, path, int, link, (const char *from, const char *path), (from, path))
WRAP(ALLOCATES, AT_FDCWD, path, int, symlink, (const char *to, const char *path), (to, path))
WRAP(OTHER, AT_FDCWD, path, int, unlink, (const char *path), (path))
WRAP(OTHER, AT_FDCWD, path, int, rmdir, (const char *path), (path))
WRAP(OTHER, folder, path, int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))

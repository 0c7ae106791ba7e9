/* Kills its process at the n-th write, fsync, rename or removal of a file below a folder; a write is done
   by half. Loaded before libc: gcc -shared -fPIC -o crash.so crash.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static long seen, deadly;
static char below[4096];
static int list = -1;

/* at: which one kills, 0: none; names: a file outside of the folder that gets a line for each */
void crash_arm(long at, const char *folder, const char *names) {
    seen = 0, deadly = at;
    list = open(names, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    snprintf(below, sizeof below, "%s/", folder);
}

long crash_seen(void) { return seen; }

static const char *ours(const char *path) { return below[0] && path && strstr(path, below) ? path : NULL; }

static const char *our_file(int fd) {
    static __thread char path[4096];
    char link[64];
    if (!below[0] || fd == list) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return ours(path);
}

static const char *either(const char *a, const char *b) { return a ? a : b; }

static int dies(const char *what, const char *path) {
    if (!path) return 0;
    dprintf(list, "%s %s\n", what, path);
    return ++seen == deadly;
}
static void die(void) { kill(getpid(), SIGKILL); }

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write);
    if (dies("write", our_file(fd))) { real(fd, data, n / 2); die(); }
    return real(fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    REAL(pwrite);
    if (dies("pwrite", our_file(fd))) { real(fd, data, n / 2, at); die(); }
    return real(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    REAL(pwrite64);
    if (dies("pwrite64", our_file(fd))) { real(fd, data, n / 2, at); die(); }
    return real(fd, data, n, at);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    if (dies("writev", our_file(fd))) { real(fd, parts, n / 2); die(); }
    return real(fd, parts, n);
}
int fsync(int fd) {
    REAL(fsync);
    if (dies("fsync", our_file(fd))) die();
    return real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    if (dies("fdatasync", our_file(fd))) die();
    return real(fd);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    if (dies("rename", either(ours(to), ours(from)))) die();
    return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    if (dies("rename", either(ours(to), ours(from)))) die();
    return real(a, from, b, to);
}
int unlink(const char *path) {
    REAL(unlink);
    if (dies("unlink", ours(path))) die();
    return real(path);
}
int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat);
    if (dies("unlink", either(ours(path), our_file(at)))) die();
    return real(at, path, flags);
}
int rmdir(const char *path) {
    REAL(rmdir);
    if (dies("rmdir", ours(path))) die();
    return real(path);
}

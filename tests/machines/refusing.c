/* A file system that refuses the calls named in $REFUSED, with the error number in $REFUSED_WITH: to be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int refused(const char *call) {
    const char *list = getenv("REFUSED"), *number = getenv("REFUSED_WITH");
    size_t length = strlen(call);
    for (const char *at = list; at && (at = strstr(at, call)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length])) {
            errno = number ? atoi(number) : EPERM;
            return 1;
        }
    return 0;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    return refused("chmod") ? -1 : real(fd, mode);
}
int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    return refused("chmod") ? -1 : real(path, mode);
}
int fchmodat(int at, const char *path, mode_t mode, int flags) {
    REAL(fchmodat);
    return refused("chmod") ? -1 : real(at, path, mode, flags);
}
int link(const char *from, const char *to) {
    REAL(link);
    return refused("link") ? -1 : real(from, to);
}
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    REAL(linkat);
    return refused("link") ? -1 : real(at, from, to_at, to, flags);
}
int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) {
    REAL(renameat2);
    return refused("renameat2") ? -1 : real(at, from, to_at, to, flags);
}
int flock(int fd, int how) {
    REAL(flock);
    return refused("flock") ? -1 : real(fd, how);
}
int fsync(int fd) {
    REAL(fsync);
    struct stat facts;
    int is_folder = fstat(fd, &facts) == 0 && S_ISDIR(facts.st_mode);
    return refused(is_folder ? "fsync_folder" : "fsync") ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return refused("fsync") ? -1 : real(fd);
}
int posix_fallocate(int fd, off_t from, off_t length) {
    REAL(posix_fallocate);
    return refused("fallocate") ? errno : real(fd, from, length);
}
int posix_fallocate64(int fd, off64_t from, off64_t length) {
    REAL(posix_fallocate64);
    return refused("fallocate") ? errno : real(fd, from, length);
}
